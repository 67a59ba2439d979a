package statuspage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page.css
var css string

//go:embed page.html
var html string

var (
	page = template.Must(template.New("page").Parse(html))

	// The hash is of what stands between the tags.
	styleHash = func() string {
		sum := sha256.Sum256([]byte(css))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}()
)

// view is what the template is given.
type view struct {
	*status
	CSS   template.CSS
	Chart chart
	Form  *rolloutForm
	Back  string
	Saved bool
}

// moment is a time for the template: for programs, for people, and how long ago.
type moment struct{ ISO, Text, Ago string }

// Moment tells t as the page does. It is empty for the zero time.
func (v *view) Moment(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{ISO: t.UTC().Format(time.RFC3339), Text: t.UTC().Format(time.DateTime), Ago: ago(v.At, t)}
	if t.After(v.At) {
		m.Ago = "in " + span(t.Sub(v.At))
	}
	return m
}

// Count groups digits by a narrow space, by which no reader takes them for a fraction.
func (v *view) Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// ServeHTTP answers with the page, or with the same as JSON for who asks for that,
// by Accept: application/json or ?format=json. It checks nobody's rights: mount it
// behind what does. POST turns the Dial, where there is one.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.setHeaders(w.Header())
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		if wantsJSON(r) {
			p.writeJSON(w)
			return
		}
		p.write(w, r, http.StatusOK, nil)
	case r.Method == http.MethodPost && p.dial.settable():
		p.post(w, r)
	default:
		allow := "GET, HEAD"
		if p.dial.settable() {
			allow += ", POST"
		}
		w.Header().Set("Allow", allow)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// setHeaders lets the page load nothing, run nothing and be shown in nothing.
func (p *Page) setHeaders(h http.Header) {
	action := "'none'"
	if p.dial.settable() {
		action = "'self'"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+styleHash+
		"; form-action "+action+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Vary", "Accept")
}

// wantsJSON leaves browsers, which accept anything, with the page.
func wantsJSON(r *http.Request) bool {
	if f := r.URL.Query().Get("format"); f != "" {
		return f == "json"
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}

func (p *Page) post(w http.ResponseWriter, r *http.Request) {
	if err := p.guard.Check(r); err != nil {
		http.Error(w, "the form was sent from another site", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	if form := p.dial.turn(r); form != nil {
		p.write(w, r, http.StatusUnprocessableEntity, form)
		return
	}
	// Relative to where the browser is, whatever prefix was stripped on the way
	// here. A reload then repeats nothing.
	w.Header().Set("Location", "?saved=1")
	w.WriteHeader(http.StatusSeeOther)
}

func (p *Page) write(w http.ResponseWriter, r *http.Request, code int, form *rolloutForm) {
	v := &view{status: p.status(time.Now()), CSS: template.CSS(css), Form: form, Back: p.back, Saved: form == nil && p.dial.settable() && r.URL.Query().Get("saved") == "1"}
	v.Chart = newChart(v.Hours)
	if form == nil {
		v.Form = p.dial.form()
	}
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = b.WriteTo(w)
}

func (p *Page) writeJSON(w http.ResponseWriter) {
	b, err := json.MarshalIndent(p.status(time.Now()), "", "  ")
	if err != nil {
		http.Error(w, "the status could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}

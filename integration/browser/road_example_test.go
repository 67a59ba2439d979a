package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startExample builds the example and starts it, as a person does.
func startExample(t *testing.T) (url string) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "example")
	built, err := exec.Command("go", "build", "-o", bin, "example.com/stytchmigrate/example").CombinedOutput()
	require.NoError(t, err, "%s", built)
	cmd := exec.Command(bin, "-addr", "127.0.0.1:0")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "STYTCH_") })
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	out := bufio.NewReader(stdout)
	t.Cleanup(func() { ends(t, cmd, out) })
	return address(t, out)
}

// address is where the example says that it is.
func address(t *testing.T, out *bufio.Reader) string {
	t.Helper()
	for {
		line, err := out.ReadString('\n')
		require.NoError(t, err, "the example has ended")
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "open "); ok {
			return strings.TrimSpace(at)
		}
	}
}

// ends sends the example what Ctrl-C sends.
func ends(t *testing.T, cmd *exec.Cmd, out io.Reader) {
	assert.NoError(t, cmd.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(out)
	assert.NoError(t, err)
	assert.Contains(t, string(rest), "\nEnded.\n")
	assert.NoError(t, cmd.Wait())
}

// step is something that a visitor of the example does, and what they see then.
type step struct {
	name    string
	do      does
	heading string
	text    string   // is on the page too
	holds   []string // the cookies then
	kept    *step    // what is different where the browser shows a page of before, in spite of no-store; nil: nothing
}

// in is the step in an engine. What a kept page lists is of before.
func (s step) in(e *engine) step {
	if s.kept == nil || !e.keepsPlain {
		s.kept = nil
		return s
	}
	s.heading, s.text = s.kept.heading, s.kept.text
	return s
}

// told are the names of the cookies that a page of the example lists: the server
// thinks that the browser holds those. A page that lists none at all says nil.
const told = `(() => {
	const label = [...document.querySelectorAll("dt")].find(d => d.textContent === "you hold now")
	return label ? [...label.nextElementSibling.querySelectorAll("code")].map(c => c.textContent) : null
})()`

// The whole road of the example, by mouse. What its pages say that the browser
// holds is what it holds, and nobody has trouble to read them. The example is on plain
// HTTP, where WebKit's Back shows pages of before.
func TestExampleRoad(t *testing.T) { inEngines(t, exampleRoad) }

func exampleRoad(t *testing.T, e *engine, table *results) {
	url, p := startExample(t), newTab(t, e)
	old, stytch, both := []string{"legacy_session"}, []string{tokenCookie, jwtCookie}, []string{"legacy_session", tokenCookie, jwtCookie}
	whoAmI, cookies, ops, logOut := press(`nav a[href="/"]`), press(`nav a[href="/cookies"]`), press(`nav a[href="/ops"]`), press(`form[action="/logout"] button`)
	button := func(value string) does { return press("button[value=" + value + "]") }
	for i, s := range []step{
		{"a stranger comes", navigate(url), "Nobody is signed in", "anonymous", nil, nil},
		{"Ada logs in the old way", button("ada"), "My cookies", "You hold the old session", old, nil},
		{"her next page moves her", whoAmI, "You are Ada Lovelace", "migrated", both, nil},
		{"she looks at her cookies", cookies, "My cookies", "You hold both sessions", both, nil},
		{"she is known now", whoAmI, "You are Ada Lovelace", "authenticated", stytch, nil},
		{"Stytch goes down", button("down"), "You are Ada Lovelace", "Stytch is down", stytch, nil},
		{"Grace logs in meanwhile", button("grace"), "My cookies", "You hold the old session", old, nil},
		{"her old session goes on", whoAmI, "You are Grace Hopper", "unavailable", old, nil},
		{"Stytch is back, and she moves", button("up"), "You are Grace Hopper", "migrated", both, nil},
		{"an operator looks", ops, "Migration to Stytch", "The old cookie is not yet safe to remove", both, nil},
		{"and goes back to the application", press(`header a[href="/"]`), "You are Grace Hopper", "authenticated", stytch, nil},
		{"she looks at her cookies too", cookies, "My cookies", "expires in", stytch, nil},
		{"she logs out", logOut, "Nobody is signed in", "anonymous", nil, nil},
		{"the Back button shows nothing of hers", travel(-1), "My cookies", "You hold none.", nil, &step{heading: "My cookies", text: "expires in"}},
		{"and once more", travel(-1), "Nobody is signed in", "anonymous", nil, &step{heading: "You are Grace Hopper", text: "authenticated"}},
		{"Barbara logs in", button("barbara"), "My cookies", "You hold the old session", old, nil},
		{"but may not move", whoAmI, "You are Barbara Liskov", "refused", old, nil},
		{"Ada asks for a code", press(`form[action="/code"] button`), "Enter the code", "ada@example.com", old, nil},
		{"and signs in by it", enterTheCode, "You are Ada Lovelace", "authenticated", stytch, nil},
		{"the old sign-in is taken out", button("gone"), "You are Ada Lovelace", "The old sign-in is gone", stytch, nil},
		{"she signs out everywhere", press(`form[action="/everywhere"] button`), "Nobody is signed in", "anonymous", nil, nil},
	} {
		t.Run(fmt.Sprintf("%02d %s", i+1, s.name), func(t *testing.T) {
			in := p.in(t)
			in.do(s.do)
			in.shoot(fmt.Sprintf("example-%02d", i+1))
			table.say(t, "%s", s.in(e).seenIn(in))
			assert.Empty(t, p.driver.said(), "console")
		})
	}
	p.looks(phone)
	p.shoot("example-phone")
	assert.Empty(t, axe(t, p.driver))
}

// enterTheCode types what the page shows as the inbox, and sends it.
func enterTheCode(ctx context.Context, d driver) error {
	const fill = `document.querySelector("input[name=code]").value = document.querySelector("main p code").textContent`
	if err := run(fill)(ctx, d); err != nil {
		return err
	}
	return press(`form[action="/signin"] button`)(ctx, d)
}

// seenIn holds a step against what is in the tab.
func (s step) seenIn(p *tab) string {
	t := p.t
	t.Helper()
	held := names(p.jar())
	assert.Equal(t, s.heading, p.says())
	assert.Contains(t, evaluate[string](p, "document.body.innerText"), s.text)
	assert.Equal(t, s.holds, held)
	if said := evaluate[[]string](p, told); said != nil && s.kept == nil {
		assert.Equal(t, len(s.holds), len(said))
		assert.Subset(t, held, said, "what the page says that the browser holds")
	}
	return fmt.Sprintf("%s, the browser holds %v", p.says(), held)
}

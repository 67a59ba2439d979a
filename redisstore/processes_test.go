package redisstore_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/redisstore"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// processEnv holds the processConfig of an application that this test binary is
// run as, again.
const processEnv = "STYTCHMIGRATE_TEST_PROCESS"

type processConfig struct {
	ProjectID, Secret, Stytch, Redis string
	Timeout                          time.Duration
}

// page is what every page of the application says.
type page struct{ Outcome, User, Session string }

// serveProcess is an application behind the middleware. It ends when its standard
// input does, so that none outlives the tests.
func serveProcess(config string) {
	var c processConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		log.Fatal(err)
	}
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: c.ProjectID, Secret: stytchmigrate.Secret(c.Secret), BaseURL: c.Stytch,
		Legacy:  []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolve}},
		Cookies: stytchmigrate.CookieOptions{Insecure: true},
		Timeout: c.Timeout,
		Store:   redisstore.New(redis.NewClient(&redis.Options{Addr: c.Redis}), ""),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p := page{Outcome: stytchmigrate.OutcomeFromContext(r.Context()).String()}
		if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			p.User = u.UserID
		}
		if s, ok := stytchmigrate.SessionFromContext(r.Context()); ok {
			p.Session = s.SessionID
		}
		if r.URL.Path == "/never" { // the exchange is made, and its answer never leaves
			fmt.Println("arrived")
			select {}
		}
		_ = json.NewEncoder(w).Encode(p)
	})
	outer := http.NewServeMux()
	outer.Handle("/", auth.Handler(mux))
	outer.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := auth.Logout(w, r); err != nil {
			http.Error(w, "not everywhere", http.StatusInternalServerError)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	go func() { log.Fatal(http.Serve(l, outer)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// resolve knows whose a session is by the name in it, as in "ada-1".
func resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	name, _, found := strings.Cut(value, "-")
	if !found {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(value), Token: stytchmigrate.Secret(name + "-token"),
		Identity: userinfo.Identity{Subject: name, Email: name + "@example.com", EmailVerified: true},
	}, nil
}

// process is such an application, in a process of its own.
type process struct {
	url   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// patient is a Timeout of which a tenth, what a call of the store may take, is enough
// for Redis on a machine that is busy with much else.
const patient = 30 * time.Second

// startProcesses starts n, with one Redis and one stand-in for Stytch; timeout is
// Config.Timeout.
func startProcesses(t *testing.T, n int, stytch *stytchtest.Server, redis *server, timeout time.Duration) []*process {
	t.Helper()
	config, err := json.Marshal(processConfig{stytch.ProjectID, stytch.Secret, stytch.URL, redis.addr, timeout})
	require.NoError(t, err)
	out := make([]*process, n)
	for i := range out {
		p := &process{cmd: exec.Command(os.Args[0])}
		p.cmd.Env = append(os.Environ(), processEnv+"="+string(config))
		p.stdin, err = p.cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := p.cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, p.cmd.Start())
		t.Cleanup(p.kill)
		p.lines = bufio.NewScanner(stdout)
		require.True(t, p.lines.Scan(), "the process did not start")
		p.url = "http://" + p.lines.Text()
		out[i] = p
	}
	return out
}

// kill is SIGKILL: nothing in the process hears of it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// visitor is a client without a jar: each request says what it carries.
var visitor = &http.Client{
	Timeout:   20 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableKeepAlives: true},
}

// visit asks for a page, and returns it and the cookies that it set.
func visit(url, cookies string) (page, map[string]string, error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return page{}, nil, err
	}
	r.Header.Set("Cookie", cookies)
	resp, err := visitor.Do(r)
	if err != nil {
		return page{}, nil, err
	}
	defer resp.Body.Close()
	set := map[string]string{}
	for _, c := range resp.Cookies() {
		set[c.Name] = c.Value
	}
	var p page
	return p, set, json.NewDecoder(resp.Body).Decode(&p)
}

// people adds users to the stand-in, who are known by name.
func people(stytch *stytchtest.Server, names ...string) map[string]string {
	ids := map[string]string{}
	for _, name := range names {
		ids[name] = stytch.AddUser(stytchtest.Person(name + "@example.com")).ID
		stytch.Accept(name+"-token", name+"@example.com")
	}
	return ids
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

const connections = 16

// throughput writes how many requests a second of a known session a server
// answers on loopback, and the bare handler on another, in turn. Clients and server
// share the machine, so both numbers are of the two of them.
func (w *world) throughput(out io.Writer, rounds int, each time.Duration) error {
	s := scenario{name: "known session over loopback", want: w.userID, warm: jwts(w.jwt, w.jwt)}
	rates := map[string][]float64{}
	for _, p := range []peer{w.bare(), w.ours()} {
		h, err := s.open(p)
		if err != nil {
			return err
		}
		srv := httptest.NewServer(h)
		defer srv.Close()
		for range rounds {
			rate, err := drive(srv.URL, jwts(w.jwt)[0], each)
			if err != nil {
				return err
			}
			rates[p.name] = append(rates[p.name], rate)
		}
	}
	bare, ours := median(rates[w.bare().name]), median(rates[ourName])
	fmt.Fprintf(out, "\n### Over loopback\n\nA known session, %d connections, clients on the same machine: %.0f requests a second, and %.0f with the bare handler: %.0f %%.\n",
		connections, ours, bare, 100*ours/bare)
	return nil
}

// drive sends the same request over all connections for a while.
func drive(url, cookie string, each time.Duration) (perSecond float64, err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var sent atomic.Int64
	errs := make([]error, connections)
	end := time.Now().Add(each)
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(func() {
			for time.Now().Before(end) && errs[c] == nil {
				errs[c] = visitOnce(client, url, cookie)
				sent.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(sent.Load()) / each.Seconds(), errors.Join(errs...)
}

func visitOnce(client *http.Client, url, cookie string) error {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Cookie", cookie)
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != rightUser {
		return fmt.Errorf("bench: over loopback: status %d: %w", resp.StatusCode, err)
	}
	return nil
}

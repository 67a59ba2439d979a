package main

import (
	"context"
	"fmt"
)

// scenario is one kind of request, and all that are measured with it.
type scenario struct {
	name     string
	cookies  []string // Cookie headers, sent in turn; "" is none
	want     string   // the user that handlers have to find, "" for nobody
	calls    int      // to Stytch, that a request costs us
	once     bool     // each cookie is to be sent once to a middleware with a memory
	warm     []string // sent to a new middleware before, so that it has keys and known sessions
	parallel bool     // by as many goroutines as there are processors
	peers    []peer
	floors   []floor // the first is what the others are compared with
}

// floor is work that nobody can do without.
type floor struct {
	name string
	work func(i int) error
}

// scenarios is the table.
func (w *world) scenarios(ctx context.Context) ([]scenario, error) {
	verifiers, err := w.jwtPeers(ctx)
	if err != nil {
		return nil, err
	}
	scsPeer, scsToken, err := w.scs(ctx)
	if err != nil {
		return nil, err
	}
	bare, ours := w.bare(), w.ours()
	jwtPeers := append([]peer{bare, ours}, verifiers...)
	everyone := append(jwtPeers[:len(jwtPeers):len(jwtPeers)], scsPeer)
	alone := []peer{bare, ours}

	known := fmt.Sprintf("theme=dark; %s=%s; %s=%s", scsName, scsToken, jwtName, w.jwt)
	other := "theme=dark; consent=1; visitor=4b1f3a0c9d"
	table := []scenario{
		{name: "no cookie", cookies: []string{""}, peers: everyone},
		{name: "other cookies only", cookies: []string{other}, peers: everyone, floors: []floor{w.scan(other)}},
		{name: "known session", cookies: []string{known}, want: w.userID, warm: []string{known, known}, peers: everyone, floors: []floor{w.scan(known)}},
		{name: "new JWT of a known session", cookies: jwts(w.newer...), want: w.userID, warm: jwts(w.jwt, w.jwt), once: true, peers: jwtPeers, floors: w.verifications(ctx, w.newer)},
		{name: "new JWT of a new session", cookies: jwts(w.strangers...), want: w.userID, warm: jwts(w.jwt), once: true, calls: 1, peers: jwtPeers, floors: w.verifications(ctx, w.strangers)},
		{name: "no JWT at all", cookies: jwts("a.b.c"), warm: jwts(w.jwt), peers: jwtPeers, floors: []floor{w.scan(jwts("a.b.c")[0])}},
		{name: "forged JWT", cookies: jwts(w.wrongKey), warm: jwts(w.jwt), peers: jwtPeers, floors: w.refusals(ctx)},
		{name: "forged legacy cookie", cookies: olds(w.wrongCodec), peers: alone, floors: []floor{w.macAlone()}},
		{name: refreshed, cookies: jwts(w.stale...), want: w.userID, warm: jwts(w.jwt), once: true, calls: 1, peers: alone, floors: []floor{w.callAlone("authenticate")}},
		{name: migrated, cookies: olds(w.old...), want: w.userID, warm: jwts(w.jwt), once: true, calls: 1, peers: alone, floors: []floor{w.callAlone("migrate")}},
	}
	for _, s := range table[:5:5] {
		if s.name != "other cookies only" {
			s.name, s.parallel = s.name+", in parallel", true
			table = append(table, s)
		}
	}
	return table, nil
}

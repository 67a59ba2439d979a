package exchange

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/cache"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

const (
	maxShadowed = 100_000         // legacy sessions that are remembered as tried out
	maxShadows  = 4               // exchanges at a time; the other sessions are tried out by a later request
	shadowLife  = 5 * time.Minute // of a session that could not be revoked; the shortest that Stytch allows
)

// shadows are the legacy sessions that were tried out, and the trials under way.
type shadows struct {
	done  *lru.Cache[string, struct{}] // keys of legacy sessions
	slots chan struct{}                // holds one value for each exchange under way
}

func newShadows() shadows {
	return shadows{done: cache.LRU[string, struct{}](maxShadowed), slots: make(chan struct{}, maxShadows)}
}

// ShadowResult is what an exchange of a legacy session would have come to.
type ShadowResult struct {
	Err     error // ErrAnotherPerson or ErrUnverified, with UserID, or another reason for no session
	Took    time.Duration
	UserID  string // of the other person
	NotSent bool   // the request could not be made, so Stytch was not asked
}

// Shadow exchanges a legacy session, revokes the new session at once, and calls tell with
// what came of it. It does so in the background, and once for each legacy session. Only
// prepare runs in the request. If there is no room now, a later request tries it.
func (m *Exchanger) Shadow(ctx context.Context, l *Legacy, prepare Prepare, tell func(context.Context, ShadowResult)) {
	s := &m.shadows
	if s.done.Contains(l.Key) || m.knownRefusal(l.Key) != nil || !m.Limiter.HasRoom() {
		return
	}
	in, err := prepare()
	if err == nil && in.Token == "" {
		in.Token, err = m.Mint(l.Identity)
	}
	if err != nil {
		if again, _ := s.done.ContainsOrAdd(l.Key, struct{}{}); !again {
			tell(ctx, ShadowResult{Err: err, NotSent: true})
		}
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return
	}
	again, _ := s.done.ContainsOrAdd(l.Key, struct{}{})
	if again || !m.Limiter.Take() {
		if !again {
			s.done.Remove(l.Key)
		}
		<-s.slots
		return
	}
	in.Minutes = session.Minutes(shadowLife)
	ctx = context.WithoutCancel(ctx)
	background.Go(func() {
		defer func() { <-s.slots }()
		tell(ctx, m.shadow(ctx, l, in))
	})
}

// shadow makes the exchange, revokes its session, and compares its user. If Stytch can't
// tell, a later request tries again.
func (m *Exchanger) shadow(ctx context.Context, l *Legacy, in stytch.ExchangeRequest) ShadowResult {
	asking, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	began := time.Now()
	out, err := m.API.Exchange(asking, in)
	took := time.Since(began)
	if err != nil {
		m.revokeMade(ctx, err)
		if x := resultOf(err); x.Answer != stytch.No {
			m.remember(l.Key, x) // a "no" is not: it would refuse this session in the stage that comes next
			m.shadows.done.Remove(l.Key)
		}
		return ShadowResult{Err: err, Took: took}
	}
	revoking, stop := context.WithTimeout(ctx, m.Timeout)
	defer stop()
	m.revokeToken(revoking, out.Token)
	if out.User.Accepts(l.Identity) {
		return ShadowResult{Took: took}
	}
	return ShadowResult{Err: whyNot(out, l.Identity), Took: took, UserID: out.UserID}
}

package main

import (
	"cmp"
	"context"
	"net/http"
	"net/url"

	"example.com/stytchmigrate"
)

// The end of the walk: sign-in moves to Stytch, and the old one goes.

// signInByCode signs a person in as the pages do.
func (b *browser) signInByCode(ctx context.Context, a *app, user string) (visit, error) {
	if v, err := b.do(ctx, http.MethodPost, "/code", url.Values{"user": {user}}); err != nil {
		return v, err
	}
	p, _ := find(user)
	form := url.Values{"method_id": {a.standInUser(user).Emails[0].ID}, "code": {a.standIn.LastCode(p.Email)}}
	return b.do(ctx, http.MethodPost, "/signin", form)
}

func (w *walker) newSignIn(ctx context.Context) error {
	v, err := w.barbara.signInByCode(ctx, w.app, "barbara")
	if err != nil {
		return err
	}
	w.tell(v)
	me, err := w.barbara.me(ctx)
	if err != nil {
		return err
	}
	w.tell(me)
	return expect(
		fact{"status", http.StatusSeeOther, v.status},
		fact{"cookies before", oldCookie, names(v.before)},
		fact{"cookies after", newCookies, names(v.after)},
		fact{"outcome", "authenticated", me.account.Outcome},
		fact{"user", "barbara", me.account.UserID},
		fact{"calls", "none", callList(me.calls)},
	)
}

func (w *walker) everywhere(ctx context.Context) error {
	phone := w.browser()
	if _, err := phone.signInByCode(ctx, w.app, "ada"); err != nil {
		return err
	}
	v, err := w.ada.do(ctx, http.MethodPost, "/everywhere", nil)
	if err != nil {
		return err
	}
	w.tell(v)
	w.say("Her phone was signed in too:")
	other, err := phone.me(ctx)
	if err != nil {
		return err
	}
	w.tell(other)
	return expect(
		fact{"cookies", "none", names(v.after)},
		fact{"outcome on the phone", "anonymous", other.account.Outcome},
		fact{"cookies on the phone", "none", names(other.after)},
	)
}

func (w *walker) retireTooEarly(ctx context.Context) error {
	if err := w.turnTo(ctx, stytchmigrate.StageRetired); err != nil {
		return err
	}
	w.say("The old sign-in is still there, and Ada uses it. She is not locked out:")
	if _, err := w.ada.login(ctx, "ada"); err != nil {
		return err
	}
	v, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(v)
	return cmp.Or(isLeftAlone(v, "legacy", "ada"), expect(fact{"calls", "none", callList(v.calls)}))
}

func (w *walker) finish(ctx context.Context) error {
	if err := w.app.setOld(false); err != nil {
		return err
	}
	w.say("Ada has only an old cookie, so she signs in by a code:")
	before, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(before)
	if _, err := w.ada.signInByCode(ctx, w.app, "ada"); err != nil {
		return err
	}
	after, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(after)
	w.say("Grace has a Stytch session, and notices nothing:")
	g, err := w.grace.me(ctx)
	if err != nil {
		return err
	}
	w.tell(g)
	return expect(
		fact{"outcome with an old cookie alone", "anonymous", before.account.Outcome},
		fact{"Ada's outcome", "authenticated", after.account.Outcome},
		fact{"Ada's user", "ada", after.account.UserID},
		fact{"Grace's outcome", "authenticated", g.account.Outcome},
		fact{"Grace's user", "grace", g.account.UserID},
	)
}

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate/internal/sessionjwt"
)

var errFloor = errors.New("bench: a floor does not do its work")

// scan reads the Cookie header once, for one name.
func (w *world) scan(header string) floor {
	want := strings.Contains(header, jwtName)
	h := http.Header{"Cookie": {header}}
	return floor{"Cookie header read once", func(int) error {
		if _, ok := find(h, jwtName); ok != want {
			return errFloor
		}
		return nil
	}}
}

func find(h http.Header, name string) (value string, ok bool) {
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if n, v, _ := strings.Cut(strings.TrimLeft(pair, " "), "="); n == name {
				return v, true
			}
		}
	}
	return "", false
}

// verifications are the signatures of tokens: what crypto/rsa takes for them, and
// what ours takes for all the rules that a session JWT has to keep.
func (w *world) verifications(ctx context.Context, tokens []string) []floor {
	v := w.verifier()
	return []floor{w.rsaAlone(tokens, true), {"stytchmigrate, verification alone", func(i int) error {
		c, err := v.Verify(ctx, tokens[i%len(tokens)])
		if err == nil && c.UserID != w.userID {
			return errFloor
		}
		return err
	}}}
}

func (w *world) refusals(ctx context.Context) []floor {
	v := w.verifier()
	return []floor{w.rsaAlone([]string{w.wrongKey}, false), {"stytchmigrate, verification alone", func(int) error {
		if _, err := v.Verify(ctx, w.wrongKey); !errors.Is(err, sessionjwt.ErrRefused) {
			return errFloor
		}
		return nil
	}}}
}

func (w *world) verifier() *sessionjwt.Verifier {
	keys := sessionjwt.NewKeys(func(context.Context) ([]byte, error) {
		resp, err := w.keySet.Get(w.keySetURL())
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}, nil)
	return sessionjwt.New(w.stytch.ProjectID, []string{w.issuer}, keys)
}

// rsaAlone is SHA-256 and PKCS #1 v1.5 verification; what is signed and the
// signature are in their places already.
func (w *world) rsaAlone(tokens []string, good bool) floor {
	signed, signatures := make([][]byte, len(tokens)), make([][]byte, len(tokens))
	for i, t := range tokens {
		dot := strings.LastIndexByte(t, '.')
		signed[i] = []byte(t[:dot])
		signatures[i], _ = base64.RawURLEncoding.DecodeString(t[dot+1:])
	}
	return floor{"RSA signature alone", func(i int) error {
		digest := sha256.Sum256(signed[i%len(signed)])
		if err := rsa.VerifyPKCS1v15(w.public, crypto.SHA256, digest[:], signatures[i%len(signed)]); (err == nil) != good {
			return errFloor
		}
		return nil
	}}
}

// macAlone is what the old code itself takes to refuse the cookie.
func (w *world) macAlone() floor {
	return floor{"securecookie alone", func(int) error {
		var id string
		if securecookie.DecodeMulti(oldName, w.wrongCodec, &id, w.codecs...) == nil {
			return errFloor
		}
		return nil
	}}
}

// callAlone is the call to Stytch by net/http without anything around it: the
// answer is read, and not decoded. Its body is one that the middleware sends too.
func (w *world) callAlone(op string) floor {
	client := w.tape.client()
	url := w.stytch.URL + "/v1/sessions/" + op
	body := w.tape.example("/v1/sessions/" + op)
	return floor{"the call alone", func(int) error {
		r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.SetBasicAuth(w.stytch.ProjectID, w.stytch.Secret)
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("bench: call alone: status %d: %w", resp.StatusCode, errors.Join(err, errFloor))
		}
		return nil
	}}
}

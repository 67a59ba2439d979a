package sessionjwt_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// FuzzVerify signs whatever two texts it is given, and verifies that, and the
// texts as they are. Only a token that was signed may be accepted.
func FuzzVerify(f *testing.F) {
	header, claims := text(f, goodHeader()), text(f, goodClaims())
	good := sign(f, projectKey(), header, claims)
	f.Add(header, claims, "")
	f.Add(header, claims, ".")
	f.Add(header, strings.Replace(claims, "user-", "m2m-", 1), "x")
	f.Add(`{"alg":"none"}`, claims, "e30.e30.")
	f.Add(`{"alg":"RS256","alg":"none","kid":"\ud800"}`, `{"exp":1e308}`, "a.b.c")
	f.Add(header, `{"aud":[[[[`, "....")
	f.Add(`{`, `{"":"\\"}`, "\n")
	f.Add(header, good, good)
	v := verifier(serving(f))
	f.Fuzz(func(t *testing.T, header, claims, rest string) {
		for _, unsigned := range []string{
			rest, header + "." + claims + "." + rest,
			encode(header) + "." + encode(claims) + "." + rest,
			encode(header) + "." + encode(claims) + good[strings.LastIndexByte(good, '.'):],
		} {
			got, err := v.Verify(t.Context(), unsigned)
			if (err == nil || got != nil) && unsigned != good {
				t.Fatalf("accepted %q", unsigned)
			}
		}
		got, err := v.Verify(t.Context(), sign(t, projectKey(), header, claims))
		if err != nil && !errors.Is(err, sessionjwt.ErrNotCurrent) {
			assert.Nil(t, got)
			return
		}
		var is struct { // what must hold, read in another way
			Sub     string `json:"sub"`
			Session struct{ ID string }
		}
		require.NoError(t, json.Unmarshal([]byte(claims), &is))
		assert.True(t, strings.HasPrefix(got.UserID, "user-"))
		assert.NotEmpty(t, got.SessionID)
		assert.Contains(t, header, "RS256")
	})
}

// FuzzParseObject holds the package's reading of JSON against encoding/json's.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(text(f, goodClaims())))
	f.Add([]byte(`{"a\"}":"{[\\\"",  "b" :[ {"}":1} , "]"],"c":-1.5e3
		,"d":true }`))
	f.Add([]byte(`{"\u0061":null,"":{}}`))
	f.Add([]byte("{}"))
	f.Add([]byte(`[{"a":1}]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		names, got, err := sessionjwt.ParseObject(doc)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(doc, &want))
		assert.Len(t, want, len(names))
		for name, value := range want {
			assert.Equal(t, string(bytes.TrimSpace(value)), got[name], name)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	claims := goodClaims()
	claims["exp"] = in(24 * time.Hour)
	good := sign(b, projectKey(), text(b, goodHeader()), text(b, claims))
	v := verifier(serving(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), good); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareRSA is what no verifier can do without.
func BenchmarkBareRSA(b *testing.B) {
	message := []byte(strings.Repeat("x", 1024))
	sum := sha256.Sum256(message)
	signature, err := rsa.SignPKCS1v15(nil, projectKey(), crypto.SHA256, sum[:])
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256(message)
		if rsa.VerifyPKCS1v15(&projectKey().PublicKey, crypto.SHA256, sum[:], signature) != nil {
			b.Fatal("refused")
		}
	}
}

func BenchmarkRubbish(b *testing.B) {
	for name, rubbish := range map[string]string{
		"Dots": strings.Repeat(".", 1<<20), "Opaque": strings.Repeat("A", 44),
		"Header": encode(`{"alg":"none"}`) + ".e30.", "Claims": encode(text(b, goodHeader())) + ".e30.e30",
		"Nested": encode(text(b, goodHeader())) + "." + encode(strings.Repeat("[", 6000)) + ".e30",
	} {
		b.Run(name, func(b *testing.B) {
			v := verifier(serving(b))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = v.Verify(b.Context(), rubbish)
			}
		})
	}
}

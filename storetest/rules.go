package storetest

import (
	"strings"
)

var valueRules = []rule{
	{"Get of a key that has no value finds nothing", func(s *subject) { s.hasNone() }},
	{"Get finds what was put, byte for byte", func(s *subject) {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		for _, value := range []string{
			"x", "\x00", "a\x00b\r\n", "\xff\xfe", "nil", string(every), strings.Repeat(string(every), 256), // 64 KB
		} {
			s.put("", value, long, true)
			s.has(value)
		}
	}},
	{"An empty value is a value", func(s *subject) {
		s.put("", "", long, true)
		s.has("")
	}},
	{"A Put replaces the value", func(s *subject) {
		s.put("", "a long first value", long, true)
		s.put("", "second", long, true)
		s.has("second")
	}},
	{"A value whose time is over is found no more", func(s *subject) {
		s.put("", "value", short, true)
		s.wait(short)
		s.hasNone()
	}},
	{"A Put replaces the ttl, by a longer one", func(s *subject) {
		s.put("", "first", short, true)
		s.put("", "second", long, true)
		s.wait(short)
		s.has("second")
	}},
	{"A Put replaces the ttl, by a shorter one", func(s *subject) {
		s.put("", "first", long, true)
		s.put("", "second", short, true)
		s.wait(short)
		s.hasNone()
	}},
	{"A ttl shorter than any clock's tick is no ttl without end", func(s *subject) {
		s.put("", "value", 1, true)
		s.wait(short)
		s.hasNone()
	}},
	{"Keys are kept apart, whatever printable ASCII they have", keptApart},
	{"Get returns a copy of the value", func(s *subject) {
		s.put("", "value", long, true)
		if value, found, _ := s.store.Get(s.ctx, s.key); found {
			clear(value)
		}
		s.has("value")
	}},
	{"Put keeps a copy of the value", func(s *subject) {
		value := []byte("value")
		if _, err := s.store.Put(s.ctx, s.key, "", value, long); err != nil {
			s.failf("Put: %w", err)
		}
		clear(value)
		s.has("value")
	}},
}

// keptApart gives a value and a claim to keys that a careless encoding would mix up.
func keptApart(s *subject) {
	var ascii []byte
	for c := byte(' '); c <= '~'; c++ {
		ascii = append(ascii, c)
	}
	id := newKey()[:20]
	longest := id + strings.Repeat("k", 99-len(id))
	keys := []string{
		id, id + ":", id + ":claim", id + ":lock", id + "{a}", id + "{a}b", id + "}{", id + "{}", "{}" + id, "}" + id, "{" + id + "}",
		id + "%", id + "%7B", id + "{", id + "%25", id + "*", id + "?", id + " ", id + "a", id + "A", id + "/", id + "/..", id + `\`, id + "'",
		id + string(ascii[:48]), id + string(ascii[48:]), longest + "1", longest + "2",
	}
	for _, key := range keys {
		s.with(key, func(s *subject) {
			s.put("", key, long, true)
			s.claim("owner of "+key, long, true)
		})
	}
	for _, key := range keys {
		s.with(key, func(s *subject) {
			s.has(key)
			s.put("owner of "+key, "new", long, true)
		})
	}
}

var claimRules = []rule{
	{"A claim that nobody has is given", func(s *subject) { s.claim("one", long, true) }},
	{"A claim that somebody has is given to nobody else", func(s *subject) {
		s.claim("one", long, true)
		s.claim("two", long, false)
		s.put("one", "value", long, true)
	}},
	{"A claim whose lease is over is nobody's", func(s *subject) {
		s.claim("one", short, true)
		s.wait(short)
		s.claim("two", long, true)
		s.claim("one", long, false)
	}},
	{"A lease shorter than any clock's tick is no lease without end", func(s *subject) {
		s.claim("one", 1, true)
		s.wait(short)
		s.claim("two", long, true)
	}},
	{"Claim by the one that has it renews it", func(s *subject) {
		s.claim("one", short, true)
		s.claim("one", long, true)
		s.wait(short)
		s.claim("two", long, false)
		s.put("one", "value", long, true)
	}},
	{"A Claim that is turned down does not prolong the claim of the other", func(s *subject) {
		s.claim("one", mid, true)
		s.claim("two", long, false)
		s.wait(mid)
		s.claim("three", long, true)
	}},
	{"A claim is no value", func(s *subject) {
		s.claim("one", long, true)
		s.hasNone()
	}},
	{"A claim hides no value", func(s *subject) {
		s.put("", "value", long, true)
		s.claim("one", long, true)
		s.has("value")
	}},
	{"A claim that ends takes no value with it", func(s *subject) {
		s.put("", "value", long, true)
		s.claim("one", short, true)
		s.wait(short)
		s.has("value")
	}},
	{"A value that ends takes no claim with it", func(s *subject) {
		s.put("", "value", short, true)
		s.claim("one", long, true)
		s.wait(short)
		s.claim("two", long, false)
		s.put("one", "new", long, true)
	}},
	{"Release by the one that has the claim gives it back", func(s *subject) {
		s.claim("one", long, true)
		s.release("one")
		s.claim("two", long, true)
	}},
	{"Release by the one that has the claim touches no value", func(s *subject) {
		s.put("", "value", long, true)
		s.claim("one", long, true)
		s.release("one")
		s.has("value")
	}},
	{"Release by anybody else does nothing", func(s *subject) {
		s.claim("one", long, true)
		s.release("two")
		s.claim("two", long, false)
		s.put("one", "value", long, true)
	}},
	{"Release of what nobody has claimed does nothing, and is no error", func(s *subject) {
		s.release("one")
		s.put("", "value", long, true)
		s.release("one")
		s.has("value")
	}},
}

// Package rawjson reads JSON more strictly than encoding/json: see [Decode].
//
// Its other functions walk a JSON text that is known to be valid ([json.Valid]) and
// has no space around it. They only look for the ends of values, and so cost a
// fraction of what decoding costs. On any other text they may panic.
package rawjson

import (
	"bytes"
	"encoding/json"
	"iter"
	"unicode/utf8"
)

const space = " \t\r\n"

// Members yields the names of an object's members and the texts of their values, in
// order and with duplicates. For any other value it yields nothing. A name without
// escapes is a slice of the text.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		if !IsObject(object) {
			return
		}
		rest := bytes.TrimLeft(object[1:], space)
		for rest[0] != '}' {
			end := stringEnd(rest)
			name := rest[1 : end-1]
			if !isPlain(name) {
				unescaped, _ := Text(rest[:end])
				name = []byte(unescaped)
			}
			rest = bytes.TrimLeft(rest[end:], space) // at the colon
			rest = bytes.TrimLeft(rest[1:], space)   // at the value
			end = valueEnd(rest)
			if !yield(name, rest[:end]) {
				return
			}
			rest = next(rest[end:])
		}
	}
}

// Elements yields the texts of an array's elements. For any other value it yields
// nothing.
func Elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !IsArray(array) {
			return
		}
		rest := bytes.TrimLeft(array[1:], space)
		for rest[0] != ']' {
			end := valueEnd(rest)
			if !yield(rest[:end]) {
				return
			}
			rest = next(rest[end:])
		}
	}
}

// next skips to the next member or element, or to the closing bracket.
func next(rest []byte) []byte {
	rest = bytes.TrimLeft(rest, space)
	if rest[0] == ',' {
		rest = bytes.TrimLeft(rest[1:], space)
	}
	return rest
}

// IsObject reports whether a value is an object.
func IsObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// IsArray reports whether a value is an array.
func IsArray(value []byte) bool { return len(value) > 0 && value[0] == '[' }

// IsNull reports whether a value is null.
func IsNull(value []byte) bool { return len(value) > 0 && value[0] == 'n' }

// Text returns a string's value. It returns false if the value is not a string.
func Text(value []byte) (string, bool) {
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	if inside := value[1 : len(value)-1]; isPlain(inside) {
		return string(inside), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

// isPlain reports whether the text of a string is its value.
func isPlain(inside []byte) bool { return bytes.IndexByte(inside, '\\') < 0 && utf8.Valid(inside) }

// stringEnd returns the length of the string that s starts with.
func stringEnd(s []byte) int {
	for i := 1; ; i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// valueEnd returns the length of the value that s starts with.
func valueEnd(s []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch s[i] {
		case '"':
			i += stringEnd(s[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of a number or literal that is the last in its object or array
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
}

package cookies

import (
	"strconv"
	"strings"
	"time"
)

// cookieDate is what was found of a date so far.
type cookieDate struct {
	hour, minute, second, day, month, year int
	hasTime, hasDay, hasMonth, hasYear     bool
}

// parseDate reads the Expires of a cookie as browsers do: by the algorithm of RFC 6265
// section 5.1.1, which takes the parts of a date in nearly any form. A weekday and a zone
// are not looked at: every date is in UTC.
func parseDate(text string) (at time.Time, ok bool) {
	var d cookieDate
	for token := range strings.FieldsFuncSeq(text, isDateDelimiter) {
		d.take(token)
	}
	switch {
	case 70 <= d.year && d.year <= 99:
		d.year += 1900
	case 0 <= d.year && d.year <= 69:
		d.year += 2000
	}
	if !d.hasTime || !d.hasDay || !d.hasMonth || !d.hasYear ||
		d.year < 1601 || d.hour > 23 || d.minute > 59 || d.second > 59 {
		return at, false
	}
	at = time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, d.second, 0, time.UTC)
	return at, at.Day() == d.day // there is such a day
}

func isDateDelimiter(r rune) bool {
	return r == '\t' || ' ' <= r && r <= '/' || ';' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
}

// take uses a token for the first part that it can be and that was not found before.
func (d *cookieDate) take(token string) {
	if !d.hasTime {
		if d.hour, d.minute, d.second, d.hasTime = parseTime(token); d.hasTime {
			return
		}
	}
	if !d.hasDay {
		if d.day, _, d.hasDay = leadingNumber(token, 1, 2); d.hasDay {
			return
		}
	}
	if !d.hasMonth {
		if d.month, d.hasMonth = parseMonth(token); d.hasMonth {
			return
		}
	}
	if !d.hasYear {
		d.year, _, d.hasYear = leadingNumber(token, 2, 4)
	}
}

// parseTime reads hours, minutes and seconds, of one or two digits each.
func parseTime(token string) (hour, minute, second int, ok bool) {
	hour, rest, ok1 := leadingNumber(token, 1, 2)
	rest, colon1 := strings.CutPrefix(rest, ":")
	minute, rest, ok2 := leadingNumber(rest, 1, 2)
	rest, colon2 := strings.CutPrefix(rest, ":")
	second, _, ok3 := leadingNumber(rest, 1, 2)
	return hour, minute, second, ok1 && colon1 && ok2 && colon2 && ok3
}

func parseMonth(token string) (month int, ok bool) {
	if len(token) < 3 {
		return 0, false
	}
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(token[:3], m.String()[:3]) {
			return int(m), true
		}
	}
	return 0, false
}

// leadingNumber reads the digits that token begins with, if there are so many.
func leadingNumber(token string, least, most int) (n int, rest string, ok bool) {
	digits := 0
	for digits < len(token) && '0' <= token[digits] && token[digits] <= '9' {
		digits++
	}
	if digits < least || digits > most {
		return 0, token, false
	}
	n, err := strconv.Atoi(token[:digits])
	return n, token[digits:], err == nil
}

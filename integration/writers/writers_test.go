package writers

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

// kind is a way to answer, and what has it.
type kind struct {
	name  string
	wires []wire
	test  func(v *visit)
}

var kinds = []kind{
	{"nothing written", everyWire, nothingWritten},
	{"a page", everyWire, writesPage},
	{"a page by WriteString", everyWire, writesString},
	{"a page for HEAD", everyWire, answersHead},
	{"Content-Length", everyWire, writesLength},
	{"chunks", everyWire, writesChunks},
	{"a status twice", everyWire, writesStatusTwice},
	{"an error", everyWire, writesError},
	{"a redirect", everyWire, redirects},
	{"204", everyWire, noContent},
	{"304", everyWire, notModified},
	{"the same interfaces", everyWire, sameInterfaces},
	{"MaxBytesReader", []wire{http11, h2}, tooLarge},
	{"Flusher", everyWire, flushes},
	{"ResponseController.Flush", everyWire, flushesByController},
	{"server-sent events", everyWire, sendsEvents},
	{"SetReadDeadline", since11, readDeadline},
	{"SetWriteDeadline", since11, writeDeadline},
	{"EnableFullDuplex", since11, fullDuplex},
	{"the client leaves", everyWire, clientLeaves},
	{"ErrAbortHandler", since11, aborts},
	{"ErrAbortHandler after a flush", since11, abortsInside},
	{"a file", everyWire, servesFile},
	{"a file for HEAD", everyWire, servesFileHead},
	{"a file by sendfile", before2, servesByReadFrom},
	{"sendfile behind a logger", before2, servesBehindUnwrap},
	{"io.Copy", before2, copies},
	{"a range", everyWire, servesRange},
	{"several ranges", everyWire, servesRanges},
	{"If-Modified-Since", everyWire, servesNotModified},
	{"Trailer", since11, declaresTrailer},
	{"TrailerPrefix", since11, addsTrailer},
	{"early hints", since11, sendsHints},
	{"early hints, ReverseProxy inside", since11, hintsInside},
	{"100-continue", since11, continues},
	{"100-continue, not wanted", since11, neverContinues},
	{"100-continue, ReverseProxy inside", since11, continuesInside},
	{"100-continue, ReverseProxy outside", []wire{http11}, continuesOutside},
	{"Hijacker", before2, hijacks},
	{"Hijacker, by the controller", before2, hijacksByController},
	{"no Hijacker", since2, cannotHijack},
	{"Pusher", since2, pushes},
	{"WebSocket, coder/websocket", before2, coderWebSocket},
	{"WebSocket, gorilla/websocket", before2, gorillaWebSocket},
	{"WebSocket behind a logger", before2, loggedWebSocket},
}

// TestWriters has each kind of visitor answered in each way, and prints the table.
func TestWriters(t *testing.T) {
	var table strings.Builder
	passed := 0
	for _, k := range kinds {
		fmt.Fprintf(&table, "\n%-36s", k.name)
		for _, who := range visitors {
			cell := k.answers(t, who)
			if cell == "ok" {
				passed++
			}
			fmt.Fprintf(&table, "%-*s", width(who), cell)
		}
		for _, over := range k.wires {
			table.WriteString(over.name + " ")
		}
	}
	t.Logf("%d kinds, %d visitors: %d of %d ok\n%36s%s%s", len(kinds), len(visitors), passed, len(kinds)*len(visitors), "", header(), table.String())
}

// answers says whether it went well on every wire, or "-" where none was tried.
func (k kind) answers(t *testing.T, who visitor) (cell string) {
	for _, over := range k.wires {
		ok := t.Run(k.name+"/"+who.name+"/"+over.name, func(t *testing.T) {
			cell = cmp.Or(cell, "ok")
			k.test(newVisit(t, who, over))
		})
		if !ok {
			cell = "FAILED"
		}
	}
	return cmp.Or(cell, "-")
}

func width(v visitor) int { return max(len(v.name), len("FAILED")) + 2 }

func header() (out string) {
	for _, v := range visitors {
		out += fmt.Sprintf("%-*s", width(v), v.name)
	}
	return out + "on"
}

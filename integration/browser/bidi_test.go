package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// bidi speaks WebDriver BiDi (w3.org/TR/webdriver-bidi): commands and events over
// one WebSocket. It is safe for concurrent use.
type bidi struct {
	conn *websocket.Conn
	done chan struct{} // closed: nothing is read any more

	opening sync.Mutex // held while a tab opens or closes; guards windows
	windows []string   // blank tabs, each in a window in which no test has a tab

	mu      sync.Mutex // guards all below
	last    int
	waiting map[int]chan bidiMessage
	console map[string][]string // by tab
	err     error               // why nothing is read any more
}

// params are those of a command.
type params map[string]any

// bidiMessage is an answer, or an event.
type bidiMessage struct {
	ID             int
	Error, Message string
	Result         json.RawMessage
	Method         string
	Params         struct {
		Level, Text string
		Source      struct{ Context string }
	}
}

// dialBiDi connects and begins a session, which certificates of tests are good for.
func dialBiDi(ctx context.Context, url string) (*bidi, error) {
	conn, resp, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	conn.SetReadLimit(-1)
	b := &bidi{conn: conn, done: make(chan struct{}), waiting: map[int]chan bidiMessage{}, console: map[string][]string{}}
	go b.read()
	capabilities := params{"alwaysMatch": params{"acceptInsecureCerts": true}}
	if err := b.call(ctx, "session.new", params{"capabilities": capabilities}, nil); err != nil {
		return nil, err
	}
	return b, b.call(ctx, "session.subscribe", params{"events": []string{"log.entryAdded"}}, nil)
}

func (b *bidi) hangUp() {
	_ = b.conn.CloseNow()
	<-b.done
}

// read hands each answer to its caller.
func (b *bidi) read() {
	defer close(b.done)
	for {
		var m bidiMessage
		err := wsjson.Read(context.Background(), b.conn, &m)
		b.mu.Lock()
		switch {
		case err != nil:
			b.err = err
		case m.Method == "log.entryAdded":
			in := m.Params.Source.Context
			b.console[in] = append(b.console[in], m.Params.Level+": "+m.Params.Text)
		case b.waiting[m.ID] != nil:
			b.waiting[m.ID] <- m
			delete(b.waiting, m.ID)
		}
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// call sends a command and decodes its result.
func (b *bidi) call(ctx context.Context, method string, p params, result any) error {
	answer := make(chan bidiMessage, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.waiting[id] = answer
	b.mu.Unlock()
	if err := wsjson.Write(ctx, b.conn, params{"id": id, "method": method, "params": p}); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != "" {
			return fmt.Errorf("%s: %s: %s", method, m.Error, m.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-b.done:
		return fmt.Errorf("%s: %w", method, b.err)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

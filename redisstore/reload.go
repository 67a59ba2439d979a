package redisstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// reloadEvery is how often the state of a cluster is reloaded at most.
const reloadEvery = time.Second

// reloader has the client of a cluster find out which masters there are now. By itself
// the client asks once a minute (ClusterStateReloadInterval), and when a server answers
// with MOVED, ASK or READONLY. A master that is gone answers nothing: its keys would fail
// for that minute, though a replica took over after seconds.
type reloader struct {
	client reloading // nil unless it is of a cluster

	mu      sync.Mutex // guards all below
	running bool
	next    time.Time // no reload before
}

// reloading is what [redis.ClusterClient] has, and what a client that wraps one may have.
type reloading interface{ ReloadState(context.Context) }

// after starts a reload if the error of a call is a sign that the state is old. The call
// does not wait for it: the client may be anyone's, and so may a panic of it.
func (r *reloader) after(err error) {
	if r.client == nil || !isSign(err) || !r.start() {
		return
	}
	go func() {
		defer func() {
			_ = recover()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.running = false
		}()
		r.client.ReloadState(context.Background())
	}()
}

// start reports whether a reload may run now, and counts it as running if so.
func (r *reloader) start() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.running || now.Before(r.next) {
		return false
	}
	r.running, r.next = true, now.Add(reloadEvery)
	return true
}

// isSign reports whether an error may come of an old state: the call had no answer in
// its time, or the server that answered is not, or not yet, a master of the key.
func isSign(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if answer := (redis.Error)(nil); errors.As(err, &answer) {
		return slices.Contains([]string{"CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "READONLY", "LOADING", "MASTERDOWN"}, code(answer.Error()))
	}
	return true
}

package tombstones

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
)

// maxTied is how many legacy sessions are remembered of one Stytch session. The latest
// ones count.
const maxTied = 8

// Tie notes that legacy sessions came beside a Stytch session of the same person that they
// did not become: the user signed in by the old login again. A logout ends them with it,
// though the browser no longer has their cookies. keys are those of their records.
func (t *Tombstones) Tie(ctx context.Context, sessionID string, keys []string) {
	known, _ := t.tied.Get(sessionID)
	if !slices.ContainsFunc(keys, func(key string) bool { return !slices.Contains(known, key) }) {
		return
	}
	all := slices.Concat(t.Tied(ctx, sessionID), keys)
	slices.Reverse(all)
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(key string) bool { again := seen[key]; seen[key] = true; return again })
	all = all[:min(len(all), maxTied)]
	slices.Reverse(all)
	t.tied.Add(sessionID, all)
	if plain, err := json.Marshal(all); err == nil {
		key := t.tiedKey(sessionID)
		_, _ = t.store.Put(context.WithoutCancel(ctx), key, "", t.store.Seal(key, "", plain), TTL)
	}
}

// MarkTied marks the legacy sessions that were tied to a Stytch session, on every machine.
func (t *Tombstones) MarkTied(ctx context.Context, sessionID string) (err error) {
	for _, key := range t.Tied(ctx, sessionID) {
		err = errors.Join(err, t.MarkLegacy(ctx, key)) // also if it is marked here: the store may have failed then
	}
	return err
}

// TiedLocal is Tied, as far as this process knows.
func (t *Tombstones) TiedLocal(sessionID string) []string {
	keys, _ := t.tied.Get(sessionID)
	return keys
}

// Tied returns the keys of the legacy sessions that were tied to a Stytch session on any
// machine.
func (t *Tombstones) Tied(ctx context.Context, sessionID string) []string {
	keys := slices.Clone(t.TiedLocal(sessionID))
	sealed, found, err := t.store.Get(context.WithoutCancel(ctx), t.tiedKey(sessionID))
	if err != nil || !found {
		return keys
	}
	var shared []string
	plain, err := t.store.Open(t.tiedKey(sessionID), "", sealed)
	if err == nil {
		err = json.Unmarshal(plain, &shared)
	}
	if err != nil {
		t.store.ReportUnreadable()
		return keys
	}
	return append(shared, keys...)
}

func (t *Tombstones) tiedKey(id string) string { return t.names.Session(id) + ".tied" }

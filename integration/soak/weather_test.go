package soak

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
)

const (
	halfOpen = "half-open" // data stops, the connection stays
	outage   = "outage"    // the one that is no toxic: nothing listens
)

// kinds are what the dice make of each kind of weather.
var kinds = map[string]func(d *rand.Rand) toxics.Toxic{
	"latency": func(d *rand.Rand) toxics.Toxic {
		latency := 20 + d.Int64N(800)
		return &toxics.LatencyToxic{Latency: latency, Jitter: latency / 2}
	},
	"reset_peer": func(d *rand.Rand) toxics.Toxic { return &toxics.ResetToxic{Timeout: d.Int64N(50)} },
	"slicer": func(d *rand.Rand) toxics.Toxic {
		return &toxics.SlicerToxic{AverageSize: 8 + d.IntN(200), SizeVariation: 4, Delay: 100 + d.IntN(20_000)}
	},
	"bandwidth": func(d *rand.Rand) toxics.Toxic { return &toxics.BandwidthToxic{Rate: 1 + d.Int64N(16)} },
	halfOpen:    func(*rand.Rand) toxics.Toxic { return &toxics.TimeoutToxic{} },
	"timeout":   func(d *rand.Rand) toxics.Toxic { return &toxics.TimeoutToxic{Timeout: 1 + d.Int64N(500)} },
	"limit_data": func(d *rand.Rand) toxics.Toxic {
		return &toxics.LimitDataToxic{Bytes: 1 + d.Int64N(6000)}
	},
	"slow_close": func(d *rand.Rand) toxics.Toxic { return &toxics.SlowCloseToxic{Delay: 1 + d.Int64N(1000)} },
}

// weather changes the network as the dice say, kind after kind, until ctx ends.
// Then the network is whole. A silence is longer than the longest wait that is
// allowed, where the storm is long enough for that.
func (n *network) weather(ctx context.Context, dice *rand.Rand, tell func(kind string)) error {
	names := append(slices.Sorted(maps.Keys(kinds)), outage)
	for ctx.Err() == nil {
		dice.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, kind := range names {
			if ctx.Err() != nil {
				break
			}
			tell(kind)
			long := 300*time.Millisecond + upTo(dice, min(2500*time.Millisecond, *stormy/4))
			if kind == halfOpen && *stormy > 30*time.Second {
				long += timeout + slack + 3*time.Second
			}
			if err := n.spell(ctx, dice, kind, long); err != nil {
				return err
			}
			rest(ctx, upTo(dice, 500*time.Millisecond))
		}
		rest(ctx, 7*time.Second) // breakers close
	}
	return nil
}

// spell is a time of one kind of weather, up, down or both ways.
func (n *network) spell(ctx context.Context, dice *rand.Rand, kind string, long time.Duration) error {
	if kind == outage {
		n.disable()
		rest(ctx, long)
		return n.enable()
	}
	f := fault{new(toxics.NoopToxic), new(toxics.NoopToxic)}
	way := dice.IntN(3)
	if way != 0 {
		f.down = kinds[kind](dice)
	}
	if way != 1 {
		f.up = kinds[kind](dice)
	}
	n.set(f)
	rest(ctx, long)
	n.mend()
	return nil
}

// rest is a pause that ends with ctx.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// counts are numbers by name, as they are printed.
type counts map[string]int

func (c counts) String() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		out = append(out, fmt.Sprintf("%s %d", name, c[name]))
	}
	return strings.Join(out, ", ")
}

func upTo(d *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(d.Int64N(int64(most)))
}

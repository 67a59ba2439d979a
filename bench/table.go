package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// cell is what was measured of a row, a value for each round.
type cell struct {
	row
	ns, bytes, allocs []float64
}

func (c *cell) add(r testing.BenchmarkResult) {
	c.ns = append(c.ns, float64(r.T.Nanoseconds())/float64(r.N))
	c.bytes = append(c.bytes, float64(r.AllocedBytesPerOp()))
	c.allocs = append(c.allocs, float64(r.AllocsPerOp()))
}

// median leaves out what a busy machine adds to single rounds.
func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// spread is how far the rounds are apart, as a part of the median.
func spread(v []float64) float64 { return (slices.Max(v) - slices.Min(v)) / median(v) }

// measure takes the rows in turn, round after round, so that a slow minute of the
// machine does not fall on one of them alone.
func (w *world) measure(scenarios []scenario, rounds int) ([][]*cell, error) {
	tables := make([][]*cell, len(scenarios))
	for i := range scenarios {
		for _, r := range scenarios[i].rows(w.tape) {
			tables[i] = append(tables[i], &cell{row: r})
		}
	}
	for range rounds {
		for _, table := range tables {
			for _, c := range table {
				var failed error
				r := testing.Benchmark(func(b *testing.B) { failed = cmp.Or(failed, c.bench(b)) })
				if failed != nil {
					return nil, failed
				}
				c.add(r)
			}
		}
	}
	return tables, nil
}

// print writes a table for each scenario, the fastest first.
func print(out io.Writer, tables [][]*cell) {
	for _, cells := range tables {
		s := cells[0].scenario
		fmt.Fprintf(out, "\n### %s\n\n", strings.ToUpper(s.name[:1])+s.name[1:])
		if s.calls > 0 {
			fmt.Fprintf(out, "Each request makes stytchmigrate call Stytch %d time; here that is answered at once.\n\n", s.calls)
		}
		base, best := baseOf(cells), bestOf(cells)
		fmt.Fprintf(out, "| | ns/op | ± | B/op | allocs/op | × %s | × best peer |\n| --- | --: | --: | --: | --: | --: | --: |\n", base.name)
		slices.SortStableFunc(cells, func(a, b *cell) int { return cmp.Compare(median(a.ns), median(b.ns)) })
		for _, c := range cells {
			toBest := "–"
			if best != nil && c.isPeer() {
				toBest = ratio(c, best)
			}
			fmt.Fprintf(out, "| %s | %.0f | %.0f %% | %.0f | %.0f | %s | %s |\n", c.label(),
				median(c.ns), 50*spread(c.ns), median(c.bytes), median(c.allocs), ratio(c, base), toBest)
		}
	}
}

func (c *cell) label() string {
	if c.name == ourName {
		return "**" + c.name + "**"
	}
	return c.name
}

func ratio(a, b *cell) string { return fmt.Sprintf("%.2f", median(a.ns)/median(b.ns)) }

// baseOf is the floor of a scenario, or the bare handler where it has none.
func baseOf(cells []*cell) *cell { return cells[0] }

// bestOf is the fastest of those who do the same work as we do.
func bestOf(cells []*cell) (best *cell) {
	for _, c := range cells {
		if c.isPeer() && c.name != ourName && (best == nil || median(c.ns) < median(best.ns)) {
			best = c
		}
	}
	return best
}

func (c *cell) isPeer() bool {
	return c.name != bareName && !slices.ContainsFunc(c.scenario.floors, func(f floor) bool { return f.name == c.name })
}

package statuspage

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// The chart's own units; the page scales it.
const (
	chartWidth  = 720.0
	chartHeight = 210.0
	plotLeft    = 46.0
	plotTop     = 14.0
	plotBottom  = 180.0
)

// chart is the last hours as bars: the geometry that the template draws.
type chart struct {
	Width, Height, Left, Bottom float64
	Desc                        string
	Bars                        []bar
	Lines, Hours                []label
}

type bar struct {
	Title string
	Parts []part
}

type part struct {
	Class      string
	X, Y, W, H float64
}

type label struct {
	At   float64
	Text string
}

func newChart(hours []hourStatus) chart {
	top := uint64(1)
	var sum counts
	for _, h := range hours {
		top = max(top, h.Migrated+h.Left+h.Refused+h.Unavailable)
		sum.Migrated += h.Migrated
		sum.Left += h.Left
		sum.Refused += h.Refused
		sum.Unavailable += h.Unavailable
	}
	top = ceiling(top)
	c := chart{Width: chartWidth, Height: chartHeight, Left: plotLeft, Bottom: plotBottom, Desc: fmt.Sprintf(
		"Stacked bars, one for each of %d hours. Added up: %d migrated, %d left alone, %d refused, %d unavailable. A table of the numbers follows.",
		len(hours), sum.Migrated, sum.Left, sum.Refused, sum.Unavailable)}
	for _, y := range []uint64{0, top / 2, top} {
		if y > 0 || len(c.Lines) == 0 { // half of 1 is no line of its own
			c.Lines = append(c.Lines, label{plotBottom - scale(y, top), short(y)})
		}
	}
	step := (chartWidth - plotLeft) / float64(len(hours))
	for i, h := range hours {
		x := plotLeft + float64(i)*step
		if h.From.Hour()%6 == 0 {
			c.Hours = append(c.Hours, label{x + step/2, h.From.Format("15:04")})
		}
		c.Bars = append(c.Bars, newBar(h, x+2, step-4, top))
	}
	return c
}

func newBar(h hourStatus, x, width float64, top uint64) bar {
	b := bar{Title: fmt.Sprintf("%s to %s: %d migrated, %d left alone, %d refused, %d unavailable",
		h.From.Format("15:04"), h.From.Add(time.Hour).Format("15:04"), h.Migrated, h.Left, h.Refused, h.Unavailable)}
	y := plotBottom
	for _, f := range []struct {
		class string
		n     uint64
	}{{"migrated", h.Migrated}, {"left", h.Left}, {"refused", h.Refused}, {"unavailable", h.Unavailable}} {
		if f.n == 0 {
			continue
		}
		height := scale(f.n, top)
		y -= height
		b.Parts = append(b.Parts, part{f.class, round(x), round(y), round(width), round(height)})
	}
	return b
}

func scale(n, top uint64) float64 { return float64(n) / float64(top) * (plotBottom - plotTop) }

func round(x float64) float64 { return math.Round(x*10) / 10 }

// ceiling is the next of 1, 2, 4, 6, 8, 10, 20, 40, …
func ceiling(n uint64) uint64 {
	for unit := uint64(1); ; unit *= 10 {
		for _, f := range []uint64{1, 2, 4, 6, 8} {
			if unit*f >= n || unit > 1e17 {
				return unit * f
			}
		}
	}
}

// short fits a number beside the chart.
func short(n uint64) string {
	switch {
	case n >= 1e9:
		return strconv.FormatUint(n/1e9, 10) + "G"
	case n >= 1e6:
		return strconv.FormatUint(n/1e6, 10) + "M"
	case n >= 1e4:
		return strconv.FormatUint(n/1e3, 10) + "k"
	}
	return strconv.FormatUint(n, 10)
}

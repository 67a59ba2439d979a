package integration

import (
	"go/ast"
	"go/parser"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// runbookStep is a numbered item or a row of a table in RUNBOOK.md.
type runbookStep struct {
	chapter, name string
	quotes        []string // what stands there as `code`, as an indented line of code, or in "quotes"
}

// goes are the steps of RUNBOOK.md, in its order, and what is done to go them.
// Those of the road go one after the other, each of the others where it may begin
// with everything in order.
func goes() (road, alone []goStep) {
	road = []goStep{
		{"Before", "Import the users", importTheUsers},
		{"Before", "Deploy and check.", deployAndCheck},
		{"Before", "Observe for a day.", observeForADay},
		{"Before", "Shadow.", tryOutInTheShadow},
		{"One percent", "One percent.", moveOnePercent},
		{"One percent", "Read the failures", readTheFailures},
		{"One percent", "Ten percent, half.", moveTenPercentAndHalf},
		{"One hundred percent", "Keep.", moveEverybody},
		{"One hundred percent", "Replace.", replace},
		{"Sign-in moves to Stytch", "Sign in by Stytch.", signInByStytch},
		{"Sign-in moves to Stytch", "Sign out on all devices.", signOutOnAllDevices},
		{"Sign-in moves to Stytch", "Take the old login out.", takeTheOldLoginOut},
		{"Finishing", "Wait for two quiet weeks.", waitTwoWeeks},
		{"Finishing", "Retire.", retire},
		{"Finishing", "Take it out.", takeItOut},
	}
	alone = []goStep{
		{"Rolling back", "Keep", backFromKeep},
		{"Rolling back", "Keep, to Observe", backFromKeepToObserve},
		{"Rolling back", "Keep, the middleware taken out", takenOutInKeep},
		{"Rolling back", "Replace", backFromReplace},
		{"Rolling back", "Replace, the middleware taken out", takenOutInReplace},
	}
	return road, append(alone, incidents()...)
}

type goStep struct {
	chapter, name string
	do            func(*walk)
}

// RUNBOOK.md is followed, step by step: there is none in it that is not gone here,
// and none here that is not in it; and what a step has for code, or quotes, is
// what is called, heard and read on the way.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile("../RUNBOOK.md")
	require.NoError(t, err)
	written := map[string]runbookStep{}
	var names, gone []string
	for _, s := range readRunbook(string(text)) {
		names = append(names, s.chapter+": "+s.name)
		written[s.chapter+": "+s.name] = s
	}
	road, alone := goes()
	for _, s := range append(slices.Clone(road), alone...) {
		gone = append(gone, s.chapter+": "+s.name)
	}
	require.ElementsMatch(t, names, gone)
	require.IsIncreasing(t, slices.Collect(placesOf(names, gone[:len(road)])), "the road is gone in the order of RUNBOOK.md")

	t.Run("the road", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { follow(t, nil, written, road...) })
	})
	for _, s := range alone {
		t.Run(s.chapter+": "+s.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { follow(t, newSite(t, 40), written, s) })
		})
	}
}

// follow goes steps, and sees after each that all of it was gone and that nobody
// was signed out.
func follow(t *testing.T, s *site, written map[string]runbookStep, steps ...goStep) {
	w := &walk{T: t, site: s}
	for _, step := range steps {
		w.step, w.said = written[step.chapter+": "+step.name], map[string]bool{}
		w.begin()
		step.do(w)
		for _, quote := range w.step.quotes {
			assert.True(t, w.said[quote], "%s: %s: RUNBOOK.md says %q, and nobody did or saw it", step.chapter, step.name, quote)
		}
		w.everybodyIsThere(0)
		if t.Failed() {
			t.Fatalf("at step %s: %s", step.chapter, step.name)
		}
	}
}

var (
	numbered = regexp.MustCompile(`^\d+\. \*\*([^*]+)\*\*`)
	codeLine = regexp.MustCompile(`^ {7,}(\S.*)$`)
	quoted   = regexp.MustCompile("`([^`]+)`|\"([^\"]+)\"")
)

// readRunbook returns the steps of RUNBOOK.md. What stands between them is a step
// without a name, if it has code or quotes: nobody goes that.
func readRunbook(text string) (steps []runbookStep) {
	chapter, at := "", 0 // the step that lines belong to
	begin := func(name string) {
		steps, at = append(steps, runbookStep{chapter: chapter, name: name}), len(steps)
	}
	_, text, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines("## " + text) {
		line = strings.TrimRight(line, "\n")
		switch m := numbered.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "## "):
			chapter = line[len("## "):]
			begin("")
		case m != nil:
			begin(m[1])
		case strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| --- ") && !slices.Contains([]string{"from", "what you see"}, cell(line)):
			begin(cell(line))
		case line != "" && !strings.HasPrefix(line, "   "):
			begin("")
		}
		steps[at].quotes = append(steps[at].quotes, quotesIn(line)...)
	}
	return slices.DeleteFunc(steps, func(s runbookStep) bool { return s.name == "" && len(s.quotes) == 0 })
}

// cell is the first of a row, as a name.
func cell(row string) string {
	return strings.ReplaceAll(strings.TrimSpace(strings.Split(row, "|")[1]), "`", "")
}

func quotesIn(line string) (quotes []string) {
	if m := codeLine.FindStringSubmatch(line); m != nil {
		return []string{m[1]}
	}
	for _, m := range quoted.FindAllStringSubmatch(line, -1) {
		quotes = append(quotes, m[1]+m[2])
	}
	return quotes
}

// placesOf yields where each of some is in all.
func placesOf(all, some []string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for _, s := range some {
			if !yield(slices.Index(all, s)) {
				return
			}
		}
	}
}

// rolloutIn reads the argument of a call of SetRollout, so that what is tested is
// what is written.
func (w *walk) rolloutIn(call string) (r stytchmigrate.Rollout) {
	e, err := parser.ParseExpr(call)
	require.NoError(w, err, call)
	for _, member := range e.(*ast.CallExpr).Args[0].(*ast.CompositeLit).Elts {
		m := member.(*ast.KeyValueExpr)
		switch name, text := m.Key.(*ast.Ident).Name, call[m.Value.Pos()-1:m.Value.End()-1]; name {
		case "Stage":
			r.Stage = w.stageNamed(text)
		case "HoldBack":
			r.HoldBack, err = strconv.ParseFloat(text, 64)
		case "PerSecond":
			r.PerSecond, err = strconv.ParseFloat(text, 64)
		default:
			require.Fail(w, "no member of Rollout", name)
		}
		require.NoError(w, err, call)
	}
	return r
}

func (w *walk) stageNamed(text string) stytchmigrate.Stage {
	stages := map[string]stytchmigrate.Stage{
		"stytchmigrate.StageObserve": stytchmigrate.StageObserve,
		"stytchmigrate.StageShadow":  stytchmigrate.StageShadow,
		"stytchmigrate.StageKeep":    stytchmigrate.StageKeep,
		"stytchmigrate.StageReplace": stytchmigrate.StageReplace,
		"stytchmigrate.StageRetired": stytchmigrate.StageRetired,
	}
	require.Contains(w, slices.Collect(maps.Keys(stages)), text)
	return stages[text]
}

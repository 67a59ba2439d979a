package stytchmigrate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

var allStages = []stytchmigrate.Stage{
	stytchmigrate.StageReplace, stytchmigrate.StageKeep, stytchmigrate.StageShadow, stytchmigrate.StageObserve, stytchmigrate.StageRetired,
}

// Each stage is written as its name, and read from that alone.
func TestStageAsText(t *testing.T) {
	for _, s := range allStages {
		text, err := s.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, s.String(), string(text))
		got := stytchmigrate.Stage(-1)
		require.NoError(t, got.UnmarshalText(text))
		assert.Equal(t, s, got)
	}
	for _, s := range []stytchmigrate.Stage{-1, 5} {
		text, err := s.MarshalText()
		assert.Empty(t, text)
		assert.EqualError(t, err, "stytchmigrate: "+s.String()+": unknown")
	}
}

// Text that names no stage changes nothing. The error says what does.
func TestStageOfWrongText(t *testing.T) {
	for name, row := range map[string]struct{ text, quoted string }{
		"a typo":          {"kep", `"kep"`},
		"nothing":         {"", `""`},
		"another case":    {"Keep", `"Keep"`},
		"a line break":    {"keep\n", `"keep\n"`},
		"the constant":    {"StageKeep", `"StageKeep"`},
		"a number":        {"1", `"1"`},
		"String of none":  {"stage 5", `"stage 5"`},
		"a whole file":    {strings.Repeat("x", 1<<20), `"` + strings.Repeat("x", 32) + `"`},
		"bytes, no words": {"\xff\x00", `"\xff\x00"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := stytchmigrate.StageObserve
			err := s.UnmarshalText([]byte(row.text))
			assert.EqualError(t, err, "stytchmigrate: stage "+row.quoted+": must be replace, keep, shadow, observe or retired")
			assert.Equal(t, stytchmigrate.StageObserve, s)
		})
	}
}

// A flag takes a stage, and says what is wrong with it.
func TestStageFlag(t *testing.T) {
	flags, stage := flag.NewFlagSet("app", flag.ContinueOnError), stytchmigrate.StageReplace
	flags.SetOutput(io.Discard)
	flags.TextVar(&stage, "stage", stytchmigrate.StageObserve, "of the rollout")
	assert.Equal(t, stytchmigrate.StageObserve, stage)
	require.NoError(t, flags.Parse([]string{"-stage=keep"}))
	assert.Equal(t, stytchmigrate.StageKeep, stage)
	assert.ErrorContains(t, flags.Parse([]string{"-stage=on"}), `stage "on": must be replace, keep, shadow, observe or retired`)
}

// Each rollout is written as JSON with the names of the status page, and read again.
func TestRolloutAsJSON(t *testing.T) {
	type rollout = stytchmigrate.Rollout
	until := time.Date(2030, 1, 31, 18, 0, 0, 500, time.UTC)
	for want, r := range map[string]rollout{
		`{"stage":"replace","hold_back":0,"per_second":0}`:                                        {},
		`{"stage":"keep","hold_back":12.5,"first":["17","<é>"],"per_second":0.1}`:                 {Stage: stytchmigrate.StageKeep, HoldBack: 12.5, First: []string{"17", "<é>"}, PerSecond: 0.1},
		`{"stage":"retired","hold_back":1e-9,"per_second":1e+300}`:                                {Stage: stytchmigrate.StageRetired, HoldBack: 1e-9, PerSecond: 1e300},
		`{"stage":"observe","hold_back":0,"per_second":0,"until":"2030-01-31T18:00:00.0000005Z"}`: {Stage: stytchmigrate.StageObserve, Until: until},
	} {
		text, err := json.Marshal(r)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(text))
		got := rollout{Stage: -1}
		require.NoError(t, json.Unmarshal(text, &got))
		assert.Equal(t, r, got)
	}
}

// A rollout that is no rollout is an error, and so is a stage by its number.
func TestRolloutOfWrongJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"stage":"kepp"}`:     `stage "kepp": must be replace, keep, shadow, observe or retired`,
		`{"stage":""}`:         `stage "": must be`,
		`{"stage":1}`:          "cannot unmarshal number",
		`{"hold_back":"half"}`: "cannot unmarshal string",
		`{"until":"tomorrow"}`: "cannot parse",
		`{"first":"17"}`:       "cannot unmarshal string",
		`{"first":[17]}`:       "cannot unmarshal number",
	} {
		assert.ErrorContains(t, json.Unmarshal([]byte(text), new(stytchmigrate.Rollout)), want, text)
	}
	_, err := json.Marshal(stytchmigrate.Rollout{Stage: 5})
	assert.ErrorContains(t, err, "stytchmigrate: stage 5: unknown")

	strict := json.NewDecoder(strings.NewReader(`{"stage":"keep","holdback":50}`))
	strict.DisallowUnknownFields()
	assert.ErrorContains(t, strict.Decode(new(stytchmigrate.Rollout)), `unknown field "holdback"`)
}

// A flag, or a variable of the environment. A typo stops the start of the application.
func ExampleStage_UnmarshalText() {
	var stage stytchmigrate.Stage
	flags := flag.NewFlagSet("app", flag.ContinueOnError) // an application calls flag.TextVar
	flags.TextVar(&stage, "stage", stytchmigrate.StageObserve, "what becomes of legacy sessions")
	fmt.Println(flags.Parse([]string{"-stage", "keep"}), stage)

	fromEnv := "kepe" // os.Getenv("MIGRATION_STAGE")
	fmt.Println(stage.UnmarshalText([]byte(fromEnv)), stage)
	// Output:
	// <nil> keep
	// stytchmigrate: stage "kepe": must be replace, keep, shadow, observe or retired keep
}

// The rollout comes from a feature flag as JSON. What the flag does not say stays. Your
// own staff move first.
func ExampleMiddleware_SetRollout() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	follow := func(text string) error {
		r := auth.Rollout()
		from := json.NewDecoder(strings.NewReader(text))
		from.DisallowUnknownFields()
		if err := from.Decode(&r); err != nil {
			return err
		}
		return auth.SetRollout(r)
	}
	app := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	}))

	fmt.Println(follow(`{"stage": "keep", "hold_back": 100}`))
	fmt.Println(browse(app, "/", map[string]string{"sid": "f0e1d2c3b4a59687"}).Body)
	fmt.Println(follow(`{"first": ["17"]}`), auth.Rollout().HoldBack)
	fmt.Println(browse(app, "/", map[string]string{"sid": "f0e1d2c3b4a59687"}).Body)
	fmt.Println(follow(`{"holdback": 50}`))
	// Output:
	// <nil>
	// legacy
	// <nil> 100
	// migrated
	// json: unknown field "holdback"
}

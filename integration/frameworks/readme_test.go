package frameworks

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What README.md says of routers is the code of the Examples: each piece of code in
// that paragraph but e.Use, which is what not to do, and the name of a type.
func TestReadmeRouters(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("examples_test.go")
	require.NoError(t, err)
	_, paragraph, found := strings.Cut(string(readme), "**Your router.**")
	require.True(t, found)
	paragraph, _, _ = strings.Cut(paragraph, "\n")

	// What is called in the Examples by another name, since several are in one file.
	spelled := strings.NewReplacer("auth.Handler(mux)", "auth.Handler(m)")
	pieces := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(paragraph, -1)
	assert.Len(t, pieces, 7)
	for _, piece := range pieces {
		assert.True(t, strings.Contains(string(examples), spelled.Replace(piece[1])), piece[1])
	}
}

package stytchmigrate_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/api.txt")

// Other modules compile against what the packages export. A change of it has to be made
// in testdata/api.txt too: go test -run TestAPI -update .
func TestAPI(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, dir := range []string{".", "userinfo", "statuspage", "stytchtest", "storetest", "redisstore", "prommetrics"} {
		b.WriteString("package " + dir + "\n\n" + strings.Join(exported(t, dir), "\n") + "\n\n")
	}
	const file = "testdata/api.txt"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	was, is := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
	assert.Empty(t, onlyIn(was, is), "gone; see CHANGELOG, and run with -update")
	assert.Empty(t, onlyIn(is, was), "new; see CHANGELOG, and run with -update")
}

// onlyIn returns the lines that are not in others.
func onlyIn(lines, others []string) (out []string) {
	for _, l := range lines {
		if !slices.Contains(others, l) {
			out = append(out, l)
		}
	}
	return out
}

// exported returns the exported declarations of a package, sorted, without comments.
func exported(t *testing.T, dir string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.FileExports(f)
		for _, d := range f.Decls {
			if text := declared(t, d); text != "" {
				list = append(list, text)
			}
		}
	}
	require.NotEmpty(t, list, dir)
	slices.Sort(list)
	return list
}

// declared returns a declaration as source. It returns "" for an import, and for a
// method of an unexported type.
func declared(t *testing.T, d ast.Decl) string {
	t.Helper()
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Body = nil; d.Recv != nil && !exportedType(d.Recv.List[0].Type) {
			return ""
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT {
			return ""
		}
	}
	var b bytes.Buffer
	require.NoError(t, format.Node(&b, token.NewFileSet(), d)) // a new set: line breaks are not kept
	return b.String()
}

func exportedType(e ast.Expr) bool {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	name, ok := e.(*ast.Ident)
	return !ok || name.IsExported()
}

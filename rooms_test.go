package stytchmigrate_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "example.com/stytchmigrate"

// allowedImports has a row for each package of the module: the packages of the
// module that it may import, and net/http if it may import that. The root package is
// called "root", and the prefix "internal/" is left out.
//
// An import that is not in the row fails TestRooms, and so does a name in the row
// that the package does not import. The failure prints the row as it would have to
// be. Before you copy it, ask whether the new import is wanted: a room that imports
// the root, or a room of rules that imports net/http, is not.
var allowedImports = map[string]string{
	"root": "background check client cookies exchange gorilla identity latch mistakes names net/http oldcode outbound rate rawjson records redact sealedstore session sessionjwt stytch tombstones userinfo vanished",

	// Rooms that know HTTP.
	"check":    "client cookies net/http rawjson redact sealedstore sessionjwt stytch userinfo",
	"client":   "background net/http outbound rawjson redact stytch",
	"cookies":  "net/http redact",
	"outbound": "background net/http",

	// Rooms of rules.
	"exchange":   "background cache records redact session stytch tombstones userinfo",
	"identity":   "userinfo",
	"mistakes":   "cache",
	"oldcode":    "latch sealedstore",
	"records":    "cache redact sealedstore stytch userinfo",
	"session":    "background cache latch redact sessionjwt stytch tombstones",
	"sessionjwt": "background rawjson",
	"stytch":     "identity redact userinfo",
	"tombstones": "cache names sealedstore",
	"vanished":   "cache",

	// Tools that the rooms above share.
	"background":  "",
	"cache":       "",
	"gorilla":     "redact",
	"latch":       "",
	"names":       "redact",
	"rate":        "",
	"rawjson":     "",
	"redact":      "",
	"sealedstore": "background latch redact",

	// Public packages.
	"example":    "net/http root statuspage stytchtest userinfo",
	"statuspage": "net/http root",
	"storetest":  "root",
	"stytchtest": "net/http",
	"userinfo":   "net/http",

	// Tests of the whole module: the only internal packages that import the root.
	"apptest":        "net/http root storetest stytchtest userinfo",
	"apptest/bubble": "",
	"apptest/scale":  "",
	"stories":        "",
}

// The root is a short read. A new file, or a longer one, takes the place of another.
const (
	maxFiles     = 17
	maxLines     = 350
	maxTestFiles = 23
	maxRequires  = 8 // direct dependencies in go.mod
)

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath, Export                 string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
}

// list runs go list, which needs nothing but the Go that runs this test.
func list(t *testing.T, args ...string) (all []goPackage) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(goCommand(t, append([]string{"list", "-json=ImportPath,Export,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports"}, args...)...)))
	for {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, p)
	}
}

func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	require.NoError(t, err, "go %s", strings.Join(args, " "))
	return out
}

// short is the name of a package in allowedImports; "" if the table is not about it.
func short(path string) string {
	name, inside := strings.CutPrefix(path, module+"/")
	switch {
	case path == module:
		return "root"
	case inside:
		return strings.TrimPrefix(name, "internal/")
	case path == "net/http":
		return path
	}
	return ""
}

// TestRooms holds every import of the module's packages against the table.
func TestRooms(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		name := short(p.ImportPath)
		seen[name] = true
		var imports []string
		for _, path := range p.Imports {
			if s := short(path); s != "" {
				imports = append(imports, s)
			}
		}
		slices.Sort(imports)
		allowed, known := allowedImports[name]
		assert.True(t, known, "allowedImports has no row for %s", p.ImportPath)
		assert.Equal(t, allowed, strings.Join(imports, " "), "%s: the row would have to be\n\t%q: %q,", p.ImportPath, name, strings.Join(imports, " "))

		harness := strings.HasPrefix(name, "apptest") || name == "stories"
		if strings.HasPrefix(p.ImportPath, module+"/internal/") && !harness {
			all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			assert.NotContains(t, all, module, "%s is used and tested without the root", p.ImportPath)
		}
	}
	for name := range allowedImports {
		assert.True(t, seen[name], "allowedImports has a row for %s, which is no package", name)
	}
}

// TestSizeOfTheRoot keeps the root small enough to be read from top to bottom.
func TestSizeOfTheRoot(t *testing.T) {
	t.Parallel()
	root := list(t, ".")[0]
	assert.LessOrEqual(t, len(root.GoFiles), maxFiles, root.GoFiles)
	tests := slices.Concat(root.TestGoFiles, root.XTestGoFiles)
	assert.LessOrEqual(t, len(tests), maxTestFiles, tests)
	for _, name := range root.GoFiles {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.LessOrEqual(t, bytes.Count(text, []byte("\n")), maxLines, name)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	require.NoError(t, json.Unmarshal(goCommand(t, "mod", "edit", "-json"), &mod))
	direct := slices.DeleteFunc(mod.Require, func(r struct {
		Path     string
		Indirect bool
	}) bool {
		return r.Indirect
	})
	assert.LessOrEqual(t, len(direct), maxRequires, direct)
}

// uses are the uses between files: from the file that uses to the file that
// declares, with the first example of each.
type uses map[string]map[string]string

// TestNoTwoFilesUseEachOther type-checks the root. A reader who has read a file's
// predecessors in the order that it logs has read everything that the file uses.
func TestNoTwoFilesUseEachOther(t *testing.T) {
	t.Parallel()
	u := usesOfRoot(t)
	for from := range u {
		for to, example := range u[from] {
			if back := u[to][from]; back != "" && from < to {
				assert.Fail(t, "two files use each other", "%s uses %s of %s, and %s uses %s of %s", from, example, to, to, back, from)
			}
		}
	}
	if order, rest := u.order(); assert.Empty(t, rest, "these files use each other in a circle") {
		t.Log("in the order of their uses: ", strings.Join(order, " "))
	}
}

func usesOfRoot(t *testing.T) uses {
	t.Helper()
	exports := map[string]string{}
	var files []string
	for _, p := range list(t, "-export", "-deps", ".") {
		if exports[p.ImportPath] = p.Export; p.ImportPath == module {
			files = p.GoFiles
		}
	}
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		parsed = append(parsed, f)
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := (&types.Config{Importer: importer.ForCompiler(set, "gc", open)}).Check(module, set, parsed, &info)
	require.NoError(t, err)

	out := uses{}
	for _, name := range files {
		out[name] = map[string]string{}
	}
	for id, object := range info.Uses {
		if object.Pkg() != pkg {
			continue
		}
		at := set.Position(id.Pos())
		from, to := filepath.Base(at.Filename), filepath.Base(set.Position(object.Pos()).Filename)
		if example := id.Name + " (line " + strconv.Itoa(at.Line) + ")"; from != to && (out[from][to] == "" || example < out[from][to]) {
			out[from][to] = example
		}
	}
	return out
}

// order puts the files such that each comes after those that it uses. rest are
// those for which there is no such order.
func (u uses) order() (order, rest []string) {
	rest = slices.Sorted(maps.Keys(u))
	for {
		next := slices.IndexFunc(rest, func(name string) bool {
			return !slices.ContainsFunc(rest, func(other string) bool { return u[name][other] != "" })
		})
		if next < 0 {
			return order, rest
		}
		order, rest = append(order, rest[next]), slices.Delete(rest, next, next+1)
	}
}

// TestArchitectureNamesTests fails when ARCHITECTURE.md names a test that is not there.
func TestArchitectureNamesTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	require.NoError(t, err)
	var code []byte
	require.NoError(t, filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		code = append(code, b...)
		return err
	}))
	named := regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(string(text), -1)
	require.Greater(t, len(named), 50)
	for _, name := range named {
		assert.True(t, bytes.Contains(code, []byte("func "+name+"(")), name)
	}
}

package fault

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The crash points that the code has are those that tests kill at. Which of them a mode of delivery passes, each schedule checks.
func TestTheCrashPointsInTheCodeAreThoseOfTheTables(t *testing.T) {
	t.Parallel()
	called, err := calledPoints("..")
	if err != nil {
		t.Fatal(err)
	}
	known := slices.Concat(pointNames(), passPoints)
	for name, at := range called {
		if !slices.Contains(known, name) {
			t.Errorf("%s: nothing kills at the crash point %s: it must stand in points or in passPoints", at, name)
		}
	}
	for _, name := range known {
		if _, is := called[name]; !is {
			t.Errorf("no code has the crash point %s: it must be passed somewhere, or be taken out of the tables", name)
		}
	}
}

// calledPoints are the names of the crash points below a directory, and where each is.
func calledPoints(dir string) (map[string]string, error) {
	called, files := map[string]string{}, token.NewFileSet()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != dir && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isPoint(call.Fun) {
				called[nameOf(call.Args[0])] = files.Position(call.Pos()).String()
			}
			return true
		})
		return nil
	})
	return called, err
}

func isPoint(function ast.Expr) bool {
	selected, ok := function.(*ast.SelectorExpr)
	if !ok || selected.Sel.Name != "Point" {
		return false
	}
	from, ok := selected.X.(*ast.Ident)
	return ok && from.Name == "crash"
}

// nameOf is a name as it is written out; another one no table has.
func nameOf(argument ast.Expr) string {
	if literal, ok := argument.(*ast.BasicLit); ok {
		if name, err := strconv.Unquote(literal.Value); err == nil {
			return name
		}
	}
	return "that is not written out as a text"
}

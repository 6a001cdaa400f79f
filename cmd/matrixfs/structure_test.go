package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/matrixfs/matrixfs"
	moduleRoot = "../.."
	maxLines   = 500
)

// mayImport says which folders of this module each folder may import.
var mayImport = map[string][]string{
	"cmd":      {"cmd", "fs", "matrix", "transfer"},
	"fs":       {"fs", "transfer"},
	"matrix":   {"matrix", "transfer"},
	"transfer": {"transfer"},
}

// The outside world each folder must not know. Only one folder knows each.
var (
	fuse   = []string{"github.com/hanwen/go-fuse"}
	webrtc = []string{"github.com/pion/"}
	client = []string{"maunium.net/", "go.mau.fi/", "modernc.org/"}

	mustNotImport = map[string][]string{
		"cmd":      slices.Concat(fuse, webrtc, client),
		"fs":       slices.Concat(webrtc, client),
		"matrix":   slices.Concat(fuse, webrtc),
		"transfer": slices.Concat(fuse, client),
	}
)

// listedPackage is what "go list" tells of a package.
type listedPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range listPackages(t) {
		folder := folderOf(p.ImportPath)
		seen[folder] = true
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if !allowed(folder, imported) {
				t.Errorf("%s imports %s: %s may not know it", p.ImportPath, imported, folder)
			}
		}
	}
	for folder := range mayImport {
		if !seen[folder] {
			t.Errorf("found no package in %s", folder)
		}
	}
}

func TestImportRulesRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		folder, imported string
		want             bool
	}{
		{"fs", modulePath + "/transfer", true},
		{"fs", modulePath + "/matrix", false},
		{"fs", "github.com/pion/webrtc/v4", false},
		{"matrix", modulePath + "/fs", false},
		{"matrix", "maunium.net/go/mautrix/event", true},
		{"transfer", modulePath + "/matrix/matrixtest", false},
		{"transfer", "github.com/hanwen/go-fuse/v2/fuse", false},
		{"cmd", modulePath + "/matrix/matrixtest", true},
		{"cmd", "maunium.net/go/mautrix", false},
		{"cmd", "net/http", true},
		{"elsewhere", modulePath + "/fs", false},
	} {
		if got := allowed(c.folder, c.imported); got != c.want {
			t.Errorf("%s imports %s: allowed is %v, want %v", c.folder, c.imported, got, c.want)
		}
	}
}

func TestTopLevelHoldsWhatIsAgreed(t *testing.T) {
	t.Parallel()
	agreed := []string{"cmd", "fs", "transfer", "matrix", "go.mod", "go.sum", "README.md", "LICENSE"}
	entries, err := os.ReadDir(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	built := []string{"matrixfs"} // what "go build ./cmd/matrixfs" leaves, not in the repository
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, ".") && !slices.Contains(agreed, name) && !slices.Contains(built, name) {
			t.Errorf("%s does not belong at the top level", name)
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(moduleRoot, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if lines := bytes.Count(content, []byte("\n")); lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", path, lines, maxLines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("found only %d Go files", files)
	}
}

// allowed applies the rules to one import.
func allowed(folder, imported string) bool {
	if inside, ok := strings.CutPrefix(imported, modulePath+"/"); ok {
		return slices.Contains(mayImport[folder], folderOf(modulePath+"/"+inside))
	}
	return !slices.ContainsFunc(mustNotImport[folder], func(prefix string) bool {
		return strings.HasPrefix(imported, prefix)
	})
}

// folderOf gives the top-level folder of a package of this module.
func folderOf(importPath string) string {
	folder, _, _ := strings.Cut(strings.TrimPrefix(importPath, modulePath+"/"), "/")
	return folder
}

// listPackages lists every package of the module.
func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	command := exec.Command("go", "list", "-tags", "goolm",
		"-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	command.Dir = moduleRoot
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("can't list the packages: %v", err)
	}
	var packages []listedPackage
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listedPackage
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// Package ui holds the page: static files, embedded, with no build step.
//
// The server serves index.html at / and /c/{conversation}, login.html at
// /login, and all files of [Files] below /ui/. They hold nothing private, and
// the sign-in page needs them, so /ui/ wants no password.
package ui

import (
	"embed"
	"io/fs"
)

// The type declarations beside the modules are for tsc and stay out.
//
//go:embed index.html login.html icon.svg css/*.css js/*.js
//go:embed lib/*.js lib/highlight/*.js lib/VERSIONS.md lib/licences
var files embed.FS

// Files gives the page's files, with index.html and login.html at the root.
func Files() fs.FS { return files }

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/joho/godotenv"
	"github.com/spf13/pflag"
)

// config is what can be set. A flag counts first, then the environment, then .env in the working directory, then the default.
type config struct {
	Listen        string
	DatabaseURL   string
	DataDir       string
	Model         string
	LabDir        string
	Password      string
	OpenAIBaseURL string
	OpenAIAPIKey  string
	OllamaHost    string
	MaxRequest    string
	Titles        string
	Retention     string
	URL           string
}

// setting is one thing that can be set. Secrets have no flag: a command line can be read by everybody on the machine.
type setting struct {
	flag, env, fallback, help string
	value                     *string
}

func (c *config) settings() []setting {
	return []setting{
		{"listen", "HWLAB_LISTEN", "127.0.0.1:8080", "address to serve on", &c.Listen},
		{"", "HWLAB_DATABASE_URL", "", "PostgreSQL to keep the record in; without it an SQLite file in the data directory", &c.DatabaseURL},
		{"data-dir", "HWLAB_DATA_DIR", dataDir(), "directory for hwlab.db and what belongs to this server", &c.DataDir},
		{"model", "HWLAB_MODEL", "", "model that answers when a request names none; without it the first that is found", &c.Model},
		{"lab-dir", "HWLAB_LAB_DIR", "", "directory with Markdown notes about the lab, which the models are told", &c.LabDir},
		{"", "HWLAB_PASSWORD", "", "password for the page, and Bearer token for clients; needed to listen beyond 127.0.0.1", &c.Password},
		{"openai-base-url", "OPENAI_BASE_URL", "", "any server that speaks Chat Completions, up to and with /v1", &c.OpenAIBaseURL},
		{"", "OPENAI_API_KEY", "", "key for it", &c.OpenAIAPIKey},
		{"ollama-host", "OLLAMA_HOST", "127.0.0.1:11434", "where to look for Ollama", &c.OllamaHost},
		{"max-request-mb", "HWLAB_MAX_REQUEST_MB", "32", "largest request that is read, in MiB", &c.MaxRequest},
		{"titles", "HWLAB_TITLES", "on", "whether the model names a conversation after its first reply, on or off", &c.Titles},
		{"retention", "HWLAB_RETENTION", "", "erase conversations, but pinned ones, in which nothing was said for so long, such as 180d, 12w or 36h", &c.Retention},
	}
}

// clientSettings are those of the commands that can work through a server elsewhere.
func (c *config) clientSettings() []setting {
	return []setting{{"", "HWLAB_URL", "", "the hwlab to work with, such as http://nas.lan:8080, instead of the record on this machine", &c.URL}}
}

// addFlags adds a flag for each setting that may have one.
func (c *config) addFlags(flags *pflag.FlagSet) {
	for _, s := range c.settings() {
		if s.flag != "" {
			flags.StringVar(s.value, s.flag, s.fallback, s.help+" ("+s.env+")")
		}
	}
}

// help lists the settings that are only read from the environment.
func (c *config) help() string {
	text := ""
	for _, s := range c.settings() {
		if s.flag == "" {
			text += fmt.Sprintf("  %-20s %s\n", s.env, s.help)
		}
	}
	return text
}

// load fills in what no flag has set.
func (c *config) load(flags *pflag.FlagSet) error {
	file, err := godotenv.Read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.New(".env in the working directory cannot be read; its lines look like NAME=value") // the parser's own error quotes the line
	}
	for _, s := range append(c.settings(), c.clientSettings()...) {
		if s.flag != "" && flags.Changed(s.flag) {
			continue
		}
		*s.value = s.fallback
		if value, ok := os.LookupEnv(s.env); ok {
			*s.value = value
		} else if value, ok := file[s.env]; ok {
			*s.value = value
		}
		if *s.value == "" {
			*s.value = s.fallback
		}
	}
	return nil
}

// maxRequest is MaxRequest in bytes.
func (c *config) maxRequest() (int64, error) {
	const most = 1 << 20
	n, err := strconv.Atoi(c.MaxRequest)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("HWLAB_MAX_REQUEST_MB: %q is not a number from 1 to %d", c.MaxRequest, most)
	}
	return int64(n) << 20, nil
}

// retention is Retention, 0 where there is none.
func (c *config) retention() (time.Duration, error) {
	if c.Retention == "" {
		return 0, nil
	}
	units := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	last := len(c.Retention) - 1
	n, err := strconv.ParseUint(c.Retention[:last], 10, 16)
	unit, known := units[c.Retention[last]]
	if most := 100 * 365 * 24 * time.Hour; err != nil || !known || n == 0 || time.Duration(n) > most/unit {
		return 0, fmt.Errorf("HWLAB_RETENTION: %q is no time from 1h to 36500d, such as 36h, 180d or 12w", c.Retention)
	}
	return time.Duration(n) * unit, nil
}

// modelTitles is Titles, on or off.
func (c *config) modelTitles() (bool, error) {
	if c.Titles != "on" && c.Titles != "off" {
		return false, fmt.Errorf("HWLAB_TITLES: %q is neither on nor off", c.Titles)
	}
	return c.Titles == "on", nil
}

// dataDir is where the XDG base directory specification puts a program's data.
func dataDir() string {
	if base := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "hwlab")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "hwlab-data"
	}
	return filepath.Join(home, ".local", "share", "hwlab")
}

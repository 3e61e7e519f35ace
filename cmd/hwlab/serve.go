package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/api"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
	"git.georgsen.dk/hwlab/internal/web"
)

// A server that is told to stop ends within ten seconds, also where its database hangs.
const (
	stopTimeout  = 8 * time.Second // for replies that are being written to be settled
	closeTimeout = 2 * time.Second // for PostgreSQL to say goodbye to each connection
)

func newServeCommand() *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the page and the API",
		Long: "Serve the page and the API.\n\n" +
			"Each flag can also be set in the environment, by the name behind it, or in a file .env in the working directory.\n" +
			"Only there, because others on the machine can read a command line:\n" + cfg.help(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.load(cmd.Flags()); err != nil {
				return err
			}
			out, log := newLogWriter(cmd.OutOrStdout()), newLogWriter(cmd.ErrOrStderr())
			defer log.close()
			defer out.close()
			return serve(cmd.Context(), cfg, out, slog.New(slog.NewTextHandler(log, nil)))
		},
	}
	cfg.addFlags(cmd.Flags())
	return cmd
}

// record is what both engines have.
type record interface {
	advisor.Record
	api.Record
	Search(ctx context.Context, q store.SearchQuery) (store.Hits, error)
	Info() store.Info
	Close()
}

// serve runs a server until ctx ends, and settles what it was writing.
func serve(ctx context.Context, cfg config, out io.Writer, log *slog.Logger) (err error) {
	if err := web.CheckListen(cfg.Listen, cfg.Password); err != nil {
		return err
	}
	s, err := startServer(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	for _, warning := range s.kept.Info().Warnings {
		log.Warn(warning)
	}

	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("HWLAB_LISTEN: %w", err)
	}
	url := "http://" + listener.Addr().String()
	if err := s.id.SetURL(url); err != nil {
		return err
	}
	if file, ok := s.kept.(*sqlite.Store); ok {
		if err := file.SetURL(url); err != nil {
			return err
		}
	}
	server := &http.Server{
		Handler:           web.New(web.Config{API: s.v1, Password: cfg.Password, Ready: s.replies.Ready, Metrics: s.metrics}),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	fmt.Fprintf(out, "listening  %s\n", url)
	fmt.Fprintf(out, "database   %s, %s\n", s.kept.Info().Engine, s.kept.Info().Detail)
	go func() { // looking for models takes as long as they take to answer; the page is there meanwhile
		printModels(ctx, out, s.models)
		printNotes(ctx, out, log, s.notes)
	}()

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "stopping   settling the replies that are being written")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	settled := notSettled(s.replies.Stop(stop)) // first, so that their readers see the end
	if err := server.Shutdown(stop); err != nil {
		server.Close()
	}
	return settled
}

// ownServer is the record, the models and who writes the replies: a server but for the listening.
type ownServer struct {
	id      *serverID
	kept    record
	notes   *lab.Lab
	models  *llm.Catalog
	replies *advisor.Advisor
	metrics *web.Metrics
	v1      http.Handler
}

// startServer starts what is configured. It must be stopped.
func startServer(ctx context.Context, cfg config, log *slog.Logger) (_ *ownServer, err error) {
	maxRequest, err := cfg.maxRequest()
	if err != nil {
		return nil, err
	}
	titles, err := cfg.modelTitles()
	if err != nil {
		return nil, err
	}
	retention, err := cfg.retention()
	if err != nil {
		return nil, err
	}
	s := &ownServer{notes: lab.New(cfg.LabDir, 0), metrics: web.NewMetrics()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.id, err = claimServerID(cfg.DataDir); err != nil {
		return nil, err
	}
	kept, err := openRecord(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.kept = kept
	if s.models, err = newCatalog(cfg, log, s.kept, s.notes); err != nil {
		return nil, err
	}
	s.replies, err = advisor.Start(ctx, advisor.Config{Record: s.metrics.Record(s.kept), Models: s.models, Notes: s.notes, ServerID: s.id.ID, Log: log, Titles: titles, Retention: retention})
	if err != nil {
		return nil, err
	}
	s.metrics.Describe(version(), s.kept.Info())
	s.metrics.Writing(s.replies.Writing)
	s.v1 = api.New(api.Config{Record: s.kept, Advisor: s.replies, Models: s.models, Notes: s.notes, HasNotes: cfg.LabDir != "", Log: log, MaxRequest: maxRequest})
	return s, nil
}

// stop settles what is being written and closes everything.
func (s *ownServer) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := s.replies.Stop(ctx)
	s.close()
	return notSettled(err)
}

func notSettled(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("not all replies could be settled in time; the next start does it: %w", err)
}

// close closes what was opened.
func (s *ownServer) close() {
	if s.models != nil {
		s.models.Close()
	}
	if s.kept != nil {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			s.kept.Close()
		}()
		var late <-chan time.Time // never, for a file
		if _, ok := s.kept.(*store.Store); ok {
			late = time.After(closeTimeout)
		}
		select {
		case <-closed:
		case <-late:
		}
	}
	if s.id != nil {
		s.id.Release()
	}
}

// openRecord opens the database that is configured and brings its schema up to date.
func openRecord(ctx context.Context, cfg config) (record, error) {
	if cfg.DatabaseURL == "" {
		return sqlite.Open(ctx, filepath.Join(cfg.DataDir, "hwlab.db"))
	}
	s, err := store.NewStore(ctx, cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	if err := store.RunMigrations(ctx, s.Pool()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// newCatalog finds the models: the server of OPENAI_BASE_URL, Ollama if it is there, and the look-up that always is.
func newCatalog(cfg config, log *slog.Logger, kept record, notes *lab.Lab) (*llm.Catalog, error) {
	var sources []llm.Source
	if cfg.OpenAIBaseURL != "" {
		client, err := llm.NewClient(llm.ClientConfig{BaseURL: cfg.OpenAIBaseURL, APIKey: cfg.OpenAIAPIKey, Remedy: "start it or change OPENAI_BASE_URL"})
		if err != nil {
			return nil, fmt.Errorf("OPENAI_BASE_URL: %w", err)
		}
		sources = append(sources, llm.Source{Name: "OPENAI_BASE_URL", BaseURL: client.BaseURL(), Provider: client})
	}
	base, err := llm.OllamaBaseURL(cfg.OllamaHost)
	if err != nil {
		return nil, fmt.Errorf("OLLAMA_HOST: %w", err)
	}
	client, err := llm.NewClient(llm.ClientConfig{BaseURL: base, Remedy: "start Ollama or set OLLAMA_HOST"})
	if err != nil {
		return nil, fmt.Errorf("OLLAMA_HOST: %w", err)
	}
	sources = append(sources, llm.Source{Name: "Ollama", BaseURL: client.BaseURL(), Provider: client, Optional: true})
	offline := llm.NewOffline(log, advisor.NotesLibrary{Notes: notes}, advisor.ConversationLibrary{Record: kept})
	return llm.NewCatalog(llm.CatalogConfig{Sources: sources, Offline: offline, Default: cfg.Model, Log: log}), nil
}

func printModels(ctx context.Context, out io.Writer, models *llm.Catalog) {
	states, err := models.States(ctx)
	if err != nil {
		return // stopped before it was known
	}
	connected := false
	for _, s := range states {
		switch {
		case len(s.Models) > 0:
			connected = true
			names := make([]string, len(s.Models))
			for i, m := range s.Models {
				names[i] = m.ID
			}
			fmt.Fprintf(out, "models     %s at %s: %s\n", s.Name, s.BaseURL, strings.Join(names, ", "))
		case s.Problem != "":
			fmt.Fprintf(out, "models     %s at %s: none: %s\n", s.Name, s.BaseURL, s.Problem)
		default:
			fmt.Fprintf(out, "models     %s at %s: none\n", s.Name, s.BaseURL)
		}
	}
	if _, name, err := models.Resolve(ctx, ""); err != nil {
		fmt.Fprintf(out, "models     the default cannot be used: %v\n", err)
	} else if connected {
		fmt.Fprintf(out, "models     default: %s\n", name)
	} else {
		fmt.Fprintf(out, "models     no model is connected: the offline advisor looks things up in the notes and in past conversations\n")
	}
}

func printNotes(ctx context.Context, out io.Writer, log *slog.Logger, notes *lab.Lab) {
	read, err := notes.Read(ctx)
	if err != nil {
		log.Warn(err.Error())
		return
	}
	if len(read.Included)+len(read.Omitted) > 0 {
		fmt.Fprintf(out, "lab notes  %d of %d go to the model\n", len(read.Included), len(read.Included)+len(read.Omitted))
	}
	for _, n := range read.Omitted {
		log.Warn("a lab note does not go to the model", "note", n.Name, "bytes", n.Bytes, "reason", n.Reason)
	}
}

package connect

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// Program is what a command says about itself.
type Program struct {
	Name, Description string
	Version           string // when empty, what the go command stamped
}

// exited is what Parse panics with, to itself, where kong would end the process: after --help and --version.
type exited struct{}

// Parse reads args into commands, a pointer to a kong struct, with getenv below them. It returns nil without an error when
// nothing is left to do, after --help and --version. Errors name the flag or argument and point to the help.
func (p Program) Parse(commands any, args []string, getenv func(string) string, stdout, stderr io.Writer) (parsed *kong.Context, err error) {
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case exited:
			parsed, err = nil, nil
		default:
			panic(reason)
		}
	}()
	parser, err := kong.New(commands,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { panic(exited{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": p.Name + " " + p.version()},
		Environment(getenv),
	)
	if err != nil {
		return nil, err
	}
	parsed, err = parser.Parse(args)
	if err != nil {
		return nil, fmt.Errorf("%w (see %s --help)", err, p.reached(err))
	}
	return parsed, nil
}

// reached is the command whose arguments are at fault, as far as they tell: its help has the flags, the program's has only commands.
func (p Program) reached(err error) string {
	var failed *kong.ParseError
	if !errors.As(err, &failed) || failed.Context == nil {
		return p.Name
	}
	name := p.Name
	for _, step := range failed.Context.Path {
		if step.Command != nil {
			name += " " + step.Command.Name
		}
	}
	return name
}

func (p Program) version() string {
	if p.Version != "" {
		return p.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

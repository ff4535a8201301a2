package connect

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"openbank/environment"
)

// tag names the environment variable that sets a flag. It isn't kong's own `env`, which reads the process's environment behind
// the command's back.
const tag = "environment"

// Environment lets getenv set the flags that carry an `environment` tag, below the command line and above the defaults, and
// shows variable and default in the help. A variable that is set to nothing counts as not set.
func Environment(getenv func(string) string) kong.Option {
	resolve := kong.ResolverFunc(func(line *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		name := flag.Tag.Get(tag)
		byFlag := func(variable string) bool {
			return slices.ContainsFunc(line.Path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Tag.Get(tag) == variable })
		}
		if name == "" || environment.Overruled(name, byFlag) {
			return nil, nil // kong's way of saying "not from here"
		}
		if value := getenv(name); value != "" {
			return value, nil
		}
		return nil, nil // as above
	})
	return kong.OptionFunc(func(k *kong.Kong) error {
		for _, option := range []kong.Option{kong.Resolvers(resolve), kong.ValueFormatter(helpWithMore), kong.KindMapper(reflect.Bool, onOrOff{})} {
			if err := option.Apply(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// onOrOff has the tools read what is on or off as the handler does: kong knows fewer spellings.
type onOrOff struct{}

func (onOrOff) IsBool() bool { return true }

// Decode takes what stands behind a flag's =, or in its variable; a flag alone is on.
func (onOrOff) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	on := true
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		var err error
		if on, err = environment.Switch(fmt.Sprint(ctx.Scan.Pop().Value)); err != nil {
			if name := ctx.Value.Tag.Get(tag); name != "" {
				return fmt.Errorf("%w ($%s)", err, name)
			}
			return err
		}
	}
	target.SetBool(on)
	return nil
}

// helpWithMore adds to a flag's help its variable, and the default where a placeholder hides it.
func helpWithMore(value *kong.Value) string {
	help := value.Help
	if name := value.Tag.Get(tag); name != "" {
		help = strings.TrimSuffix(help, ".") + " ($" + name + ")."
	}
	if value.HasDefault && value.Tag.PlaceHolder != "" {
		help += " Default: " + value.Default + "."
	}
	return help
}

// VariableNames are the environment variables of settings, a pointer to a kong struct, in the order of its fields.
func VariableNames(settings any) ([]string, error) {
	parser, err := kong.New(settings)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, flag := range parser.Model.Flags {
		if name := flag.Tag.Get(tag); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

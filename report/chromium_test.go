//go:build chromium

package report

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium with one tab, and what came of the pages in it.
type browser struct {
	context.Context
	mu       sync.Mutex
	requests []string
	errors   []string
}

func open(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium: make test-report installs it (Debian: apt-get install chromium)")
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(stop)
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WSURLReadTimeout(time.Minute),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	b := &browser{Context: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		call(ctx, network.Enable, network.EnableParams{}), call(ctx, log.Enable, cdp.Empty{}), call(ctx, runtime.Enable, cdp.Empty{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func call[P any](ctx context.Context, command cdp.Command[P, cdp.Empty], params P) error {
	_, err := chromedp.Call(ctx, command, params)
	return err
}

func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *log.EventEntryAdded:
		b.errors = append(b.errors, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		b.errors = append(b.errors, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Text)
	}
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T, b *browser, action chromedp.Action[T]) T {
	t.Helper()
	got, err := chromedp.Run(b, action)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (b *browser) seen() (requests, errors []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests, b.errors
}

// served is where a page lies; whatever else is asked for there is counted.
func served(t *testing.T, html string) (url string, others func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/report.html" {
			mu.Lock()
			asked = append(asked, r.URL.Path)
			mu.Unlock()
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(html))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/report.html", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

// media is what the page is shown on, screen or print, and whether its reader likes it dark.
func (b *browser) media(t *testing.T, on string, dark bool) {
	t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	if err := call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: on, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		t.Fatal(err)
	}
}

// picture keeps a screenshot of the whole page in OPENBANK_REPORT_DIR, when that is set.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("OPENBANK_REPORT_DIR")
	if dir == "" {
		return
	}
	shot := get(t, b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The reports that are looked at: of all scenarios, of a single one, and of a run that holds nothing.
func reports() map[string][]Input {
	all := synthetic()
	return map[string][]Input{"all": all, "drain": all[2:3], "empty": {{Label: "empty", Run: newRun("drain", nil)}}}
}

func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	for name, inputs := range reports() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, others := served(t, made(t, inputs))
			b := open(t)
			b.do(t, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url), chromedp.WaitReady("main"))
			b.media(t, "screen", false)
			b.fits(t, "1280 pixels")
			b.shows(t, ".wide", ".narrow", len(Charts(inputs)))
			b.picture(t, name+"-1280")
			if ground := b.text(t, `getComputedStyle(document.body).backgroundColor`); ground != "rgb(255, 255, 255)" {
				t.Errorf("by day the ground is %s", ground)
			}

			b.media(t, "screen", true)
			if ground := b.text(t, `getComputedStyle(document.body).backgroundColor`); ground != "rgb(20, 23, 26)" {
				t.Errorf("in the dark the ground is %s", ground)
			}
			b.picture(t, name+"-1280-dark")

			// Print is on white, whatever the screen is.
			b.prints(t, name, len(Charts(inputs)))

			for _, width := range []int64{390, 320} {
				b.media(t, "screen", false)
				b.do(t, chromedp.EmulateViewport(width, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile))
				b.fits(t, fmt.Sprintf("%d pixels", width))
				b.shows(t, ".narrow", ".wide", len(Charts(inputs)))
				b.picture(t, fmt.Sprintf("%s-%d", name, width))
			}
			b.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(d => d.open = true)`))
			b.fits(t, "320 pixels, all numbers unfolded")

			requests, errors := b.seen()
			if len(errors) > 0 {
				t.Errorf("the console says %s", strings.Join(errors, "\n"))
			}
			for _, request := range requests {
				if request != url && request != "data:," && request != "about:blank" {
					t.Errorf("it asks for %s", request)
				}
			}
			if asked := others(); len(asked) > 0 {
				t.Errorf("the server was asked for %v", asked)
			}
		})
	}
}

// fits checks that nothing is wider than the window: neither the page as a whole nor an element that sticks out of it, but for what
// scrolls within itself.
func (b *browser) fits(t *testing.T, at string) {
	t.Helper()
	wide := get(t, b, chromedp.Evaluate[[]string](`(() => {
		const width = document.documentElement.clientWidth, out = [];
		if (document.documentElement.scrollWidth > width) out.push("the page is " + document.documentElement.scrollWidth + " wide");
		for (const e of document.body.querySelectorAll("*"))
			if (e.getBoundingClientRect().right > width + 1 && !e.closest(".scroll") && !e.closest(".hidden,thead") && e.getClientRects().length)
				out.push(e.tagName + " " + e.textContent.slice(0, 40));
		return out.slice(0, 5)
	})()`))
	if len(wide) > 0 {
		t.Errorf("at %s it is too wide: %s", at, strings.Join(wide, "; "))
	}
}

// shows checks that each picture is drawn once, in the arrangement for this width.
func (b *browser) shows(t *testing.T, shown, hidden string, charts int) {
	t.Helper()
	count := func(which string) string {
		return b.text(t, `String([...document.querySelectorAll("`+which+` svg")].filter(e => e.getBoundingClientRect().height > 100).length)`)
	}
	if got := count(shown); got != fmt.Sprint(charts) {
		t.Errorf("%s of %d pictures are shown", got, charts)
	}
	if got := count(hidden); got != "0" {
		t.Errorf("%s pictures are shown in the other arrangement as well", got)
	}
}

func (b *browser) text(t *testing.T, expression string) string {
	t.Helper()
	return get(t, b, chromedp.Evaluate[string](expression))
}

// prints checks the page on paper: white, no picture cut, and two pictures a page at least besides the tables.
func (b *browser) prints(t *testing.T, name string, charts int) {
	t.Helper()
	b.media(t, "print", true)
	if ground := b.text(t, `getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color`); ground != "rgb(255, 255, 255)rgb(26, 26, 26)" {
		t.Errorf("on paper ground and text are %s", ground)
	}
	if cut := b.text(t, `String([...document.querySelectorAll("figure")].filter(e => getComputedStyle(e).breakInside != "avoid").length)`); cut != "0" {
		t.Errorf("%s pictures may be cut over pages", cut)
	}
	pdf := get(t, b, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize(), chromedp.PDFPrintBackground()))
	pages := len(regexp.MustCompile(`/Type\s*/Page\b[^s]`).FindAll(pdf, -1))
	if !strings.HasPrefix(string(pdf), "%PDF") || pages < 1 || pages > 5+charts/2 {
		t.Errorf("on paper it has %d pages for %d pictures", pages, charts)
	}
	if dir := os.Getenv("OPENBANK_REPORT_DIR"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".pdf"), pdf, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The policy is no ornament: what a page of ours must never hold, the browser refuses, and the tests above would see it.
func TestTheBrowserRefusesWhatComesFromElsewhere(t *testing.T) {
	t.Parallel()
	html := made(t, synthetic()[2:3])
	planted := strings.Replace(html, "<main>", `<main><script>document.title = "planted"</script><img src="/planted.png"><p style="color:red">`, 1)
	url, others := served(t, planted)
	b := open(t)
	b.do(t, chromedp.Navigate(url), chromedp.WaitReady("main"))
	if _, errors := b.seen(); len(errors) < 3 {
		t.Errorf("script, picture and style are refused with %d complaints: %v", len(errors), errors)
	}
	if title := b.text(t, "document.title"); title == "planted" {
		t.Error("the script ran")
	}
	if asked := others(); len(asked) > 0 {
		t.Errorf("the server was asked for %v", asked)
	}
}

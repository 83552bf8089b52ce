package platform

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// plistHead is how every tool of Apple's begins the XML form.
const plistHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`

func plistOf(body string) string { return plistHead + body + "\n</plist>\n" }

func TestPlistObject(t *testing.T) {
	text := plistOf(`<dict>
	<!-- by the management system -->
	<key>server_url</key> <string>https://muster.example/?a=1&amp;b=2</string>
	<key>interval</key>   <integer> 300 </integer>
	<key>ratio</key>      <real>0.5</real>
	<key>on</key>         <true/>
	<key>off</key>        <false></false>
	<key>pin</key>        <data>
		AAEC
		AwQ=
	</data>
	<key>since</key>      <date>2026-01-02T03:04:05Z</date>
	<key>empty</key>      <string></string>
	<key>roots</key>      <array><string>a</string><array/><dict><key>x</key><integer>-1</integer></dict></array>
</dict>`)
	got, err := plistObject([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"empty":"","interval":300,"off":false,"on":true,"pin":"AAECAwQ=","ratio":0.5,` +
		`"roots":["a",[],{"x":-1}],"server_url":"https://muster.example/?a=1\u0026b=2","since":"2026-01-02T03:04:05Z"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPlistObjectRefuses(t *testing.T) {
	deep := func(n int) string {
		return "<dict><key>a</key>" + strings.Repeat("<array>", n) + strings.Repeat("</array>", n) + "</dict>"
	}
	if _, err := plistObject([]byte(plistOf(deep(plistDepth - 1)))); err != nil {
		t.Fatalf("the deepest that is allowed: %v", err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"binary":              {"bplist00\xd1\x01\x02", "plutil -convert xml1"},
		"empty":               {"", "EOF"},
		"not XML":             {"{}", "text between elements"},
		"no plist":            {"<dict></dict>", "no <plist>"},
		"nothing inside":      {plistOf(""), "empty <plist>"},
		"array on top":        {plistOf("<array/>"), "not <dict>"},
		"two tops":            {plistOf("<dict/><dict/>"), "after the top"},
		"cut":                 {plistHead + "<dict><key>a</key>", "EOF"},
		"trailing element":    {plistOf("<dict/>") + "<dict/>", "follows"},
		"trailing text":       {plistOf("<dict/>") + "x", "follows"},
		"key without value":   {plistOf("<dict><key>a</key></dict>"), "has no value"},
		"value without key":   {plistOf("<dict><string>a</string></dict>"), "where a <key> must be"},
		"key for a value":     {plistOf("<dict><key>a</key><key>b</key></dict>"), "no property list element"},
		"twice":               {plistOf("<dict><key>a</key><true/><key>a</key><false/></dict>"), "twice"},
		"unknown element":     {plistOf("<dict><key>a</key><script/></dict>"), "<script>"},
		"element in a string": {plistOf("<dict><key>a</key><string>x<b/></string></dict>"), "inside a value"},
		"text in a dict":      {plistOf("<dict>x</dict>"), "text between"},
		"hexadecimal":         {plistOf("<dict><key>a</key><integer>0x10</integer></dict>"), "invalid syntax"},
		"huge integer":        {plistOf("<dict><key>a</key><integer>9223372036854775808</integer></dict>"), "out of range"},
		"infinite":            {plistOf("<dict><key>a</key><real>inf</real></dict>"), "unsupported value"},
		"bad base64":          {plistOf("<dict><key>a</key><data>*</data></dict>"), "base64"},
		"true with content":   {plistOf("<dict><key>a</key><true>no</true></dict>"), "has content"},
		"too deep":            {plistOf(deep(plistDepth)), "levels"},
		"too many":            {plistOf("<dict><key>a</key><array>" + strings.Repeat("<true/>", plistValues) + "</array></dict>"), "values"},
		"own entities":        {strings.Replace(plistOf("<dict/>"), `.dtd">`, `.dtd" [<!ENTITY a "b">]>`, 1), "document type"},
		"other document type": {"<!DOCTYPE html><plist><dict/></plist>", "document type"},
		"unknown entity":      {plistOf("<dict><key>a</key><string>&xxe;</string></dict>"), "entity"},
		"too long as JSON":    {plistOf("<dict><key>a</key><string>" + strings.Repeat("&lt;", managedBytes/4) + "</string></dict>"), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := plistObject([]byte(test.text))
			if err == nil {
				t.Fatalf("taken: %s", got)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want it to say %q", err, test.want)
			}
		})
	}
}

// FuzzPlistObject: what is accepted is one JSON object, within its bound, and
// the same for every reading.
func FuzzPlistObject(f *testing.F) {
	f.Add([]byte(plistOf("<dict><key>a</key><array><integer>1</integer><real>1e3</real><data>AA==</data></array></dict>")))
	f.Add([]byte(plistOf("<dict><key>a</key><dict><key>b</key><true/></dict></dict>")))
	f.Add([]byte("bplist00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		object, err := plistObject(text)
		if err != nil {
			return
		}
		if err := checkObject(object); err != nil || len(object) > managedBytes || !json.Valid(object) {
			t.Errorf("%q: %v", object, err)
		}
		if again, err := plistObject(text); err != nil || !bytes.Equal(again, object) {
			t.Errorf("then %q, %v", again, err)
		}
	})
}

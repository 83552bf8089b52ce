package platform

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The limits of a property list.
const (
	plistDepth  = 8
	plistValues = 1024
)

// plistObject translates an XML property list (Apple's plist(5), DTD 1.0) whose
// top is a dictionary to a JSON object: strings and dates become strings, data
// its base64 without blanks. Twice the same key, more than plistDepth levels or
// plistValues values, and anything unknown is an error.
//
// The binary form is refused with its remedy and not guessed at.
func plistObject(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte("bplist")) {
		return nil, errors.New("a binary property list is not read: convert it with plutil -convert xml1")
	}
	p := plistReader{in: xml.NewDecoder(bytes.NewReader(data))}
	start, err := p.prologue()
	if err != nil {
		return nil, p.at(err)
	}
	if start.Name.Local != "dict" {
		return nil, p.at(fmt.Errorf("the top is <%s>, not <dict>", start.Name.Local))
	}
	object, err := p.dict(1)
	if err != nil {
		return nil, p.at(err)
	}
	if err := p.epilogue(); err != nil {
		return nil, p.at(err)
	}
	return encodeObject(object)
}

type plistReader struct {
	in     *xml.Decoder
	values int // read so far
}

// at adds the line to an error.
func (p *plistReader) at(err error) error {
	line, _ := p.in.InputPos()
	return fmt.Errorf("property list line %d: %w", line, err)
}

// prologue reads up to the first element inside <plist>.
func (p *plistReader) prologue() (xml.StartElement, error) {
	start, end, err := p.element()
	if err != nil {
		return xml.StartElement{}, err
	}
	if end || start.Name.Local != "plist" {
		return xml.StartElement{}, errors.New("no <plist> element")
	}
	start, end, err = p.element()
	if err != nil {
		return xml.StartElement{}, err
	}
	if end {
		return xml.StartElement{}, errors.New("an empty <plist>")
	}
	return start, nil
}

// epilogue wants </plist> and the end of the text.
func (p *plistReader) epilogue() error {
	if start, end, err := p.element(); err != nil {
		return err
	} else if !end {
		return fmt.Errorf("<%s> after the top dictionary", start.Name.Local)
	}
	if _, _, err := p.element(); !errors.Is(err, io.EOF) {
		return errors.New("something follows </plist>")
	}
	return nil
}

// element returns the next start or, with end true, end of an element. Between
// elements only blanks, comments, the XML declaration and a plain DOCTYPE may
// stand.
func (p *plistReader) element() (start xml.StartElement, end bool, err error) {
	for {
		token, err := p.in.Token()
		if err != nil {
			return xml.StartElement{}, false, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			return t, false, nil
		case xml.EndElement:
			return xml.StartElement{}, true, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return xml.StartElement{}, false, errors.New("text between elements")
			}
		case xml.Directive:
			// An internal subset could define entities.
			if !bytes.HasPrefix(t, []byte("DOCTYPE plist")) || bytes.ContainsRune(t, '[') {
				return xml.StartElement{}, false, errors.New("a document type that is not a property list's")
			}
		}
	}
}

func (p *plistReader) dict(depth int) (map[string]any, error) {
	object := map[string]any{}
	for {
		start, end, err := p.element()
		if err != nil {
			return nil, err
		}
		if end {
			return object, nil
		}
		if start.Name.Local != "key" {
			return nil, fmt.Errorf("<%s> where a <key> must be", start.Name.Local)
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("key %q is there twice", key)
		}
		start, end, err = p.element()
		if err != nil {
			return nil, err
		}
		if end {
			return nil, fmt.Errorf("key %q has no value", key)
		}
		if object[key], err = p.value(start.Name.Local, depth); err != nil {
			return nil, err
		}
	}
}

func (p *plistReader) array(depth int) ([]any, error) {
	list := []any{}
	for {
		start, end, err := p.element()
		if err != nil {
			return nil, err
		}
		if end {
			return list, nil
		}
		item, err := p.value(start.Name.Local, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
}

// value reads the rest of an element of that kind, inside depth others.
func (p *plistReader) value(kind string, depth int) (any, error) {
	if p.values++; p.values > plistValues {
		return nil, fmt.Errorf("more than %d values", plistValues)
	}
	switch kind {
	case "dict", "array":
		if depth == plistDepth {
			return nil, fmt.Errorf("more than %d levels", plistDepth)
		}
		if kind == "dict" {
			return p.dict(depth + 1)
		}
		return p.array(depth + 1)
	}
	text, err := p.text()
	if err != nil {
		return nil, err
	}
	return plistScalar(kind, text)
}

func plistScalar(kind, text string) (any, error) {
	switch kind {
	case "string", "date":
		return text, nil
	case "true", "false":
		if strings.TrimSpace(text) != "" {
			return nil, fmt.Errorf("<%s> has content", kind)
		}
		return kind == "true", nil
	case "integer":
		return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	case "real":
		// JSON has no infinity, and encoding refuses it.
		return strconv.ParseFloat(strings.TrimSpace(text), 64)
	case "data":
		compact := strings.Join(strings.Fields(text), "")
		_, err := base64.StdEncoding.DecodeString(compact)
		return compact, err
	}
	return nil, fmt.Errorf("<%s> is no property list element", kind)
}

// text returns what stands inside an element that has no elements inside.
func (p *plistReader) text() (string, error) {
	var text strings.Builder
	for {
		token, err := p.in.Token()
		if err != nil {
			return "", err
		}
		switch t := token.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.StartElement:
			return "", fmt.Errorf("<%s> inside a value", t.Name.Local)
		case xml.EndElement:
			return text.String(), nil
		}
	}
}

package web

import "strings"

// nav is a link of the navigation.
type nav struct {
	Path, Name string
	Here       bool
}

// Nav lists where this person may go: their own pages, and the administrators' as
// one, which has a navigation of its own.
func (s sheet) Nav() []nav {
	if s.Who == nil {
		return nil
	}
	links := []nav{{Path: "/", Name: "Home"}, {Path: "/laptops", Name: "Laptops"}, {Path: "/passkeys", Name: "Passkeys"}, {Path: "/sessions", Name: "Sessions"}}
	for i, l := range links {
		links[i].Here = s.Path == l.Path || l.Path != "/" && strings.HasPrefix(s.Path, l.Path+"/")
	}
	if desk := s.deskNav(); len(desk) > 0 {
		links = append(links, nav{desk[0].Path, "Administration", len(s.Desk()) > 0})
	}
	return links
}

// Desk is the navigation of the administrators' pages, on those.
func (s sheet) Desk() []nav {
	links := s.deskNav()
	found := -1
	for i, l := range links {
		if s.Path == l.Path || l.Path != "/office" && strings.HasPrefix(s.Path, l.Path+"/") {
			found = i
		}
	}
	if found < 0 {
		return nil
	}
	links[found].Here = true
	return links
}

// deskNav is what of it this role may see.
func (s sheet) deskNav() (links []nav) {
	if s.Who == nil || !s.Who.Is(readers()...) {
		return nil
	}
	audits := s.Who.Is(auditors()...)
	for _, l := range []struct {
		may        bool
		path, name string
	}{
		{s.Office, "/office", "Overview"},
		{s.Office, "/office/devices", "All laptops"},
		{true, "/people", "People"},
		{s.Office && audits, "/office/sessions", "All sessions"},
		{true, "/approvals", "Approvals"},
		{s.Who.Is(administrators()...), "/elevations", "Elevations"},
		{s.Office && audits, "/office/policy", "Policy"},
		{s.Office && audits, "/office/bypasses", "Bypasses"},
		{s.Office && audits, "/office/audit", "Audit log"},
		{audits, "/programs", "Programs"},
	} {
		if l.may {
			links = append(links, nav{Path: l.path, Name: l.name})
		}
	}
	return links
}

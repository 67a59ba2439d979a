package main

import (
	"strings"

	"example.com/stytchmigrate/stytchtest"
)

// person is a user as this application has always known them.
type person struct {
	ID            string
	Name          string
	GivenName     string
	Email         string
	EmailVerified bool // the application sent a link there, and it was followed
}

// people would be a table in a database.
var people = []person{
	{"ada", "Ada Lovelace", "Ada", "ada@example.com", true},
	{"grace", "Grace Hopper", "Grace", "grace@example.com", true},
	{"katherine", "Katherine Johnson", "Katherine", "katherine@example.com", true},
	{"barbara", "Barbara Liskov", "Barbara", "barbara@example.com", false},
}

func find(id string) (person, bool) {
	for _, p := range people {
		if p.ID == id {
			return p, true
		}
	}
	return person{}, false
}

// emails are those of the people who can move.
func emails() string {
	var out []string
	for _, p := range people {
		if p.EmailVerified {
			out = append(out, p.Email)
		}
	}
	return strings.Join(out, ", ")
}

// standInUser is the person as Stytch knows them.
func (a *app) standInUser(id string) stytchtest.User {
	u, _ := a.standIn.User(id) // by the external id, which is the application's own
	return u
}

// standInSessions is how many sessions the person ever had at Stytch.
func (a *app) standInSessions(id string) (n int) {
	for _, s := range a.standIn.Sessions() {
		if s.UserID == a.standInUser(id).ID {
			n++
		}
	}
	return n
}

// A rule for brokerwarden. What the agent calls is in package agent, the decision in package decide.
package main

import _ "rule/gen/exports/wit_exports"

// Unused: the agent calls what is exported.
func main() {}

;; A component made for another version of the contract.
(component (import "brokerwarden:rule/logging@0.1.0-rc.1" (instance)))

;; A component made for another version of the contract.
(component (import "brokerwarden:rule/logging@0.2.0" (instance)))

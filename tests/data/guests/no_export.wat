;; A component that exports nothing: no rule.
(component)

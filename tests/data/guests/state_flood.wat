;; Keeps 64 KiB under ever new keys until the host says no, then fails with what the host said.
(module
  (import "brokerwarden:rule/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (then
      (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $at))
  ;; context: now-ms, interval-ms, rule, cluster, config. Returns where result<outcome, failure> is.
  (func (export "brokerwarden:rule/evaluator@0.1.0#evaluate")
    (param $now i64) (param $interval i64) (param i32 i32) (param i32 i32) (param $config i32) (param $config_len i32)
    (result i32)
    (local $key i64)
    (drop (memory.grow (i32.const 1)))
    (loop $again
      (i64.store (i32.const 16) (local.get $key))
      (memory.fill (i32.const 16) (i32.const 48) (i32.const 8))
      (i64.store (i32.const 16) (i64.or (i64.load (i32.const 16)) (i64.and (local.get $key) (i64.const 7))))
      (i64.store (i32.const 16) (i64.or (i64.load (i32.const 16)) (i64.shl (i64.and (i64.shr_u (local.get $key) (i64.const 3)) (i64.const 7)) (i64.const 8))))
      (local.set $key (i64.add (local.get $key) (i64.const 1)))
      (call $set (i32.const 16) (i32.const 8) (i32.const 4096) (i32.const 65536) (i32.const 64))
      (br_if $again (i32.eqz (i32.load8_u (i32.const 64)))))
    ;; error: tag @68, text @72; as failure::failed
    (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.load (i32.const 72))) (i32.store (i32.const 1036) (i32.load (i32.const 76)))
    (i32.const 1024)))

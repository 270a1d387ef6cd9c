import unittest

from decide import judge, read_config


class Decision(unittest.TestCase):
    def test_the_third_sighting_in_a_row_asks_for_the_action_once(self):
        asks = [judge("orders", "payments", 101, 101, 100, before).asks for before in range(4)]
        self.assertEqual(asks, [False, False, True, False])

    def test_what_became_of_the_action_is_told_once_it_was_asked_for(self):
        told = [judge("orders", "payments", 101, 101, 100, before, "failed: HTTP 503").became for before in (2, 3)]
        self.assertEqual(told, [None, "failed: HTTP 503"])

    def test_a_lag_that_is_not_known_is_neither_a_sighting_nor_its_end(self):
        self.assertEqual(judge("orders", "payments", 100, 100, 100, 2).sightings, 0)
        self.assertEqual(judge("orders", "payments", None, 100, 100, 2).sightings, 2)

    def test_a_bad_configuration_is_refused_with_its_key(self):
        with self.assertRaisesRegex(ValueError, r"^config\.thresholds\.orders: "):
            read_config('{"thresholds": {"orders": -1}}')

# The table over many seeds, of the JSON that `bursar simulate --json` writes: mean / worst seed.
def short:
  if . == null then "–"
  elif . == 0 then "0"
  else ((if . < 0 then -. else . end) | log10 | floor) as $size
    | pow(10; 2 - $size) as $unit | (. * $unit | round) / $unit | tostring
  end;
def pair(scale; unit):
  if . == null then "–"
  else (.mean * scale | short) + unit + " / " + (.max * scale | short) + unit
  end;
def usd: if . == null then "–" else "$" + (.mean | short) + " / $" + (.max | short) end;
"| scenario | nothing leaks | minute alarm leaks | it denies | bursar leaks | it denies | oracle leaks | bursar x oracle | bursar beyond delays | its changes | as expected |",
"|---|---|---|---|---|---|---|---|---|---|---|",
(.scenarios[] | . as $scenario
  | (.policies | map({(.policy): .}) | add) as $of
  | $of.bursar as $own | $of["minute alarm 3 of 3"] as $alarm
  | ($own.attacks > 0) as $attacked
  | "| " + ([
      $scenario.scenario,
      (if $attacked then $of.nothing.leaked_usd | usd else "–" end),
      (if $attacked then $alarm.leaked_usd | usd else "–" end),
      ($alarm.denied_share | pair(100; " %")),
      (if $attacked then $own.leaked_usd | usd else "–" end),
      ($own.denied_share | pair(100; " %")),
      (if $attacked then $of.oracle.leaked_usd | usd else "–" end),
      ($own.oracle_ratio | pair(1; "")),
      ($own.beyond_ms | pair(0.001; " s")),
      "\($own.actions) (\($own.false_actions) false)",
      ($scenario.expect | map(select(.holds | not) | .what) | if length == 0 then "yes" else "no: " + join(", ") end)
    ] | join(" | ")) + " |")

"""The page's style sheet, inlined so that the report is one file."""

CSS = """
:root { --ink:#1c2430; --muted:#5d6878; --line:#dfe3ea; --soft:#f3f5f9; --paper:#fff; --accent:#0b5c8f;
  --caution-ink:#7a4200; --caution:#fff4e0; --caution-line:#f0cf9a; --bad:#a32020; --good:#1d6b45; }
* { box-sizing:border-box; }
html { scroll-behavior:smooth; scroll-padding-top:3.6rem; }
body { margin:0; background:var(--soft); color:var(--ink); line-height:1.55; font-size:15.5px;
  font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; }
main, .inner { max-width:1320px; margin:0 auto; padding:0 1.5rem; }
header.top { background:#16202e; color:#f2f5fa; padding:2.1rem 0 1.9rem; }
header.top h1 { margin:0; font-size:1.95rem; letter-spacing:-.015em; line-height:1.2; overflow-wrap:anywhere; }
header.top p { margin:.45rem 0 0; color:#b9c5d6; max-width:78ch; }
.eyebrow { font-size:.78rem; letter-spacing:.09em; text-transform:uppercase; color:#8fb6d6; margin:0 0 .3rem; }
nav { position:sticky; top:0; z-index:9; background:rgba(255,255,255,.96); border-bottom:1px solid var(--line); }
nav .inner { display:flex; gap:1.35rem; overflow-x:auto; }
nav a { color:var(--muted); text-decoration:none; padding:.72rem 0; font-size:.92rem; white-space:nowrap;
  border-bottom:2px solid transparent; }
nav a:hover, nav a:focus-visible { color:var(--ink); border-color:var(--accent); }
section { margin:2.1rem 0; } section h3:not(:first-of-type) { margin-top:1.4rem; }
h2 { font-size:1.32rem; margin:0 0 .3rem; letter-spacing:-.01em; }
h3 { font-size:1.05rem; margin:0; }
p { margin:.4rem 0; } p, li { max-width:86ch; }
.lead { color:var(--muted); margin:.15rem 0 .9rem; }
.card { background:var(--paper); border:1px solid var(--line); border-radius:12px; padding:1.1rem 1.25rem;
  box-shadow:0 1px 2px rgba(22,32,46,.05); }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(165px,1fr)); gap:.9rem; margin:1.5rem 0 1rem; }
.tile .name { color:var(--muted); font-size:.83rem; }
.tile .figure { font-size:1.75rem; font-weight:650; letter-spacing:-.02em; line-height:1.3; }
.tile .note { color:var(--muted); font-size:.83rem; }
.caution { background:var(--caution); border:1px solid var(--caution-line); color:var(--caution-ink);
  border-radius:10px; padding:.65rem 1rem; margin:0 0 1rem; }
.caution p { max-width:none; margin:0; } .caution ul { margin:.2rem 0; padding-left:1.2rem; }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr)); gap:1rem; }
.figures figure { margin:0; min-width:0; overflow:hidden; }
figure.study { margin:0 0 1rem; } figure.study img { display:block; width:100%; height:auto; }
figcaption { color:var(--muted); font-size:.88rem; margin-bottom:.3rem; }
.legend { display:flex; flex-wrap:wrap; align-items:center; gap:.45rem .5rem; margin:.2rem 0 .9rem; }
.legend .of { color:var(--muted); font-size:.85rem; margin:0 .15rem 0 .7rem; }
  .legend .of:first-child { margin-left:0; }
.chip { display:inline-flex; align-items:center; gap:.4rem; font:inherit; font-size:.88rem; color:var(--ink);
  background:var(--paper); border:1px solid #c6cdd8; border-radius:99px; padding:.16rem .75rem .16rem .55rem; }
button.chip, label.chip { cursor:pointer; } .chip svg { flex:none; }
button.chip[aria-pressed=false] { opacity:.45; text-decoration:line-through; }
button.chip:hover, label.chip:hover { border-color:var(--muted); }
.plain { border-style:dashed; background:none; }
.scroll { overflow:auto; border:1px solid var(--line); border-radius:10px; background:var(--paper); }
.scroll.tall { max-height:78vh; }
table { border-collapse:separate; border-spacing:0; font-size:.87rem; font-variant-numeric:tabular-nums;
  width:100%; }
caption { text-align:left; color:var(--muted); padding:.55rem .7rem; }
th, td { padding:.34rem .7rem; text-align:right; white-space:nowrap; border-bottom:1px solid #edf0f4; }
th { font-weight:600; } tbody th { font-weight:500; } thead th { background:#f8f9fc; color:#3c4758;
  vertical-align:bottom; }
thead { position:sticky; top:0; z-index:3; } thead tr:last-child th { border-bottom:1px solid #ccd3de; }
tbody tr:last-child > * { border-bottom:0; } tbody tr:hover > * { background:#f5f8fc; }
.text { text-align:left; } td.long { white-space:normal; min-width:16rem; overflow-wrap:anywhere; }
th.group { text-align:left; font-size:.76rem; letter-spacing:.06em; text-transform:uppercase; color:var(--muted);
  border-left:1px solid var(--line); }
th.first, td.first { border-left:1px solid var(--line); }
.pin { position:sticky; left:0; z-index:2; background:var(--paper); text-align:left;
  border-right:1px solid var(--line); }
thead .pin { background:#f8f9fc; z-index:4; }
th button { all:unset; cursor:pointer; white-space:pre; } th button:hover { color:var(--accent); }
th button:focus-visible, .chip:focus-visible, a:focus-visible { outline:2px solid var(--accent);
  outline-offset:2px; }
th button::after { content:" \\2195"; color:#aab3c0; }
  th[aria-sort=ascending] button::after { content:" \\2191"; color:var(--accent); }
th[aria-sort=descending] button::after { content:" \\2193"; color:var(--accent); }
.pm { color:var(--muted); font-size:.92em; } .star { color:#b27a00; } .none { color:#98a1ae; }
.dot { display:inline-block; width:.66rem; height:.66rem; border-radius:50%; margin-right:.42rem;
  vertical-align:-.03rem; }
.badge { display:inline-block; border-radius:5px; padding:0 .45rem; font-size:.8rem; background:#e8edf4;
  color:#3c4758; }
.badge.completed, .badge.better { background:#e2f2ea; color:var(--good); }
  .badge.failed, .badge.diverged, .badge.worse { background:#fbe6e4; color:var(--bad); }
.badge.stopped { background:var(--caution); color:var(--caution-ink); }
tr.reference > * { background:#f8f9fc; font-weight:600; }
pre { background:#f6f8fb; border:1px solid var(--line); border-radius:8px; padding:.7rem .9rem; overflow:auto;
  font-size:.83rem;
  line-height:1.5; margin:.5rem 0; white-space:pre-wrap; overflow-wrap:anywhere; max-height:28rem; }
code { font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace; font-size:.93em; }
.two { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr)); gap:1rem;
  align-items:start; }
.failure { margin:.7rem 0; } .failure h3 { display:flex; gap:.6rem; align-items:center; flex-wrap:wrap; }
dl { display:grid; grid-template-columns:max-content 1fr; gap:.25rem 1.1rem; margin:.5rem 0; }
dt { color:var(--muted); } dd { margin:0; overflow-wrap:anywhere; }
details summary { cursor:pointer; color:var(--accent); } footer { color:var(--muted); font-size:.86rem;
  padding:0 0 2.5rem; }
[hidden] { display:none !important; }
@media (max-width:640px) { body { font-size:15px; } main, .inner { padding:0 .9rem; }
  .card { padding:.85rem .8rem; } }
@media print { nav, .legend { display:none; } body { background:#fff; }
  .scroll, .scroll.tall { max-height:none; overflow:visible; }
  .card { break-inside:avoid; box-shadow:none; } }
"""

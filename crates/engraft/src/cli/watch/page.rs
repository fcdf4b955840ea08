//! The page: a frame that asks for its content every two seconds.

use engraft_gan::report::STYLE;

const MORE_STYLE: &str = "
body { max-width: none; }
#runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); gap: 2.5rem; }
article { min-width: 0; } article > h2 { border-top: none; padding-top: 0; margin-top: 0; }
.grid { margin: 1rem 0; } .pictures figure { flex: 1 1 20rem; max-width: 34rem; } .pictures img { width: 100%; }
.grid label { display: flex; gap: .8rem; align-items: center; color: var(--soft); max-width: 34rem; margin-bottom: .5rem; }
.grid input[type=range] { flex: 1; }
#state { color: var(--soft); }
";

/// Text from the server goes into the page as text, or as HTML that the server has escaped.
const SCRIPT: &str = "
'use strict';
const runs = document.getElementById('runs');
const state = document.getElementById('state');
const cards = [];

function card(index) {
  const article = document.createElement('article');
  article.innerHTML = '<h2></h2><div class=grid hidden><label><input type=range min=0 step=1>'
    + '<span></span></label><div class=pictures><figure><img class=samples alt=\"\"></figure><figure hidden>'
    + '<img class=reals alt=\"training images\"><figcaption>Real: some of the training images.</figcaption></figure></div></div>'
    + '<div class=content></div>';
  const find = name => article.querySelector(name);
  const made = { index, article, grids: [], newest: true, name: find('h2'), box: find('.grid'), range: find('input'),
    step: find('span'), image: find('.samples'), reals: find('.reals'), content: find('.content'), html: null };
  made.range.addEventListener('input', () => {
    made.newest = Number(made.range.value) === made.grids.length - 1;
    showGrid(made);
  });
  runs.append(article);
  return made;
}

function showGrid(c) {
  const step = c.grids[Number(c.range.value)];
  const source = '/grid?run=' + c.index + '&step=' + step;
  c.step.textContent = 'samples at step ' + step;
  c.image.alt = c.step.textContent;
  if (c.image.getAttribute('src') !== source) c.image.src = source;
}

function show(c, run) {
  c.name.textContent = run.name;
  if (c.grids.length !== run.grids.length) {
    c.grids = run.grids;
    c.box.hidden = c.grids.length === 0;
    c.range.max = Math.max(0, c.grids.length - 1);
    if (c.newest) c.range.value = c.range.max;
    if (c.grids.length) showGrid(c);
  }
  if (run.reals && c.reals.parentElement.hidden) {
    c.reals.parentElement.hidden = false;
    c.reals.src = '/reals?run=' + c.index;
  }
  if (c.html !== run.html) {
    c.html = run.html;
    const open = [...c.content.querySelectorAll('details')].map(d => d.open);
    c.content.innerHTML = run.html;
    c.content.querySelectorAll('details').forEach((d, i) => { if (i in open) d.open = open[i]; });
  }
}

async function update() {
  try {
    const answer = await fetch('/live');
    const live = await answer.json();
    live.runs.forEach((run, i) => { cards[i] = cards[i] || card(i); show(cards[i], run); });
    const table = document.getElementById('differences');
    if (table.dataset.html !== live.differences) {
      table.dataset.html = live.differences;
      table.innerHTML = live.differences;
    }
    state.textContent = 'read at ' + new Date().toLocaleTimeString();
  } catch (error) {
    state.textContent = 'engraft watch has ended; this is what it showed last';
  }
  setTimeout(update, 2000);
}
update();
";

/// The page, the same for all runs.
pub(super) fn page() -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>engraft watch</title>\n<style>{STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<h1>engraft watch</h1>\n\
         <p id=\"state\">reading</p>\n<div id=\"runs\"></div>\n<div id=\"differences\"></div>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

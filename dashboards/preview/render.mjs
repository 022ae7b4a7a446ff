// Draws dashboards into PNGs: node render.mjs PROMETHEUS FROM TO, times in seconds since the epoch.
//
// Fails if a query fails or a panel is not drawn. A panel without data is no fault: it is listed.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { chromium } from 'playwright-core';

const BOARDS = '..';
const OUT = '../pictures';
const WIDTH = 1400;
// Tables draw only the rows that can be seen.
const HEIGHT = 3400;
// How long a dashboard may take.
const PATIENCE = 60_000;
// What the README shows, it shows in both.
const LIGHT = ['overview', 'losses'];
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const INTER = 'node_modules/@fontsource/inter/files/inter-latin-400-normal.woff2';

const [prometheus, from, to] = process.argv.slice(2);
if (!to) {
  console.error('usage: node render.mjs PROMETHEUS FROM TO');
  process.exit(2);
}

let task;
const page = () => `<!doctype html><meta charset=utf-8><link rel=stylesheet href=/out/main.css><body><div id=root></div>
<script>window.__grafana_public_path__ = '/public/'; window.TASK = ${JSON.stringify(task).replace(/</g, '\\u003c')}</script>
<script src=/out/main.js></script>`;
const file = (url) => {
  const grafana = 'node_modules/@grafana/ui/dist/public';
  if (url.startsWith('/public/fonts/inter/')) return INTER;
  if (url.startsWith('/public/build/')) return grafana + url.slice('/public/build'.length);
  if (url.startsWith('/public/')) return grafana + url.slice('/public'.length);
  return '.' + path.posix.normalize(url);
};
const server = http.createServer((request, response) => {
  const url = request.url.split('?')[0];
  if (url === '/') {
    response.setHeader('content-type', 'text/html');
    response.end(page());
  } else if (fs.statSync(file(url), { throwIfNoEntry: false })?.isFile()) {
    response.setHeader('content-type', TYPES[path.extname(url)] ?? 'application/octet-stream');
    fs.createReadStream(file(url)).pipe(response);
  } else {
    response.statusCode = 404;
    response.end();
  }
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
fs.mkdirSync(OUT, { recursive: true });
let failed = false;
for (const board of fs.readdirSync(BOARDS).filter((it) => /^netmon-.*\.json$/.test(it))) {
  const name = board.slice('netmon-'.length, -'.json'.length);
  for (const theme of LIGHT.includes(name) ? ['dark', 'light'] : ['dark']) {
    const dashboard = JSON.parse(fs.readFileSync(path.join(BOARDS, board)));
    task = { dashboard, prometheus, from: from * 1000, to: to * 1000, theme, minInterval: '5s' };
    const { faults, empty } = await draw(path.join(OUT, `${name}-${theme}.png`));
    console.log(`${name}, ${theme}: ${faults.length ? faults.join('; ') : 'drawn'}`);
    if (theme === 'dark' && empty.length) console.log(`  nothing to show in: ${empty.join(', ')}`);
    failed ||= faults.length > 0;
  }
}
await browser.close();
server.close();
process.exit(failed ? 1 : 0);

async function draw(out) {
  const tab = await browser.newPage({ viewport: { width: WIDTH, height: HEIGHT } });
  const faults = [];
  tab.on('pageerror', (error) => faults.push(error.message));
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  const deadline = Date.now() + PATIENCE;
  let panels = [];
  const done = (panel) => panel.state === 'Done' || panel.state === 'Error' || panel.err?.length;
  while (Date.now() < deadline && !(panels.length && panels.every(done))) {
    await tab.waitForTimeout(200);
    panels = await tab.evaluate(() => window.state?.() ?? []).catch(() => []);
  }
  // Lines and tables come a moment after their data.
  await tab.waitForTimeout(1500);
  for (const panel of panels) {
    if (!done(panel) || panel.err?.length) faults.push(`${panel.title}: ${panel.err?.join(', ') || panel.state}`);
  }
  if (!panels.length) faults.push('no panel was drawn');
  for (const query of await tab.evaluate(() => window.results ?? [])) {
    if (query.error) faults.push(`${query.expr}: ${query.error}`);
  }
  await tab.locator('#root > div').first().screenshot({ path: out });
  await tab.close();
  // 64 colours are as many as panels have, and a third of the bytes.
  const squeezed = spawnSync('pngquant', ['--force', '--speed', '1', '--output', out, '64', out]);
  if (squeezed.status !== 0) faults.push(`pngquant: ${squeezed.error ?? squeezed.stderr}`);
  const empty = panels.filter((panel) => panel.state === 'Done' && panel.type !== 'text' && panel.frames === 0);
  return { faults, empty: empty.map((panel) => panel.title) };
}

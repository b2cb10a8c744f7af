/**
 * Takes one picture per dashboard: node pictures.mjs PROMETHEUS-URL PICTURES.json FOLDER
 *
 * PICTURES.json lists objects with `dashboard`, `from`, `to`, `scrape` (seconds between samples) and `variables`.
 * Exits 1 where a panel has a problem, and says which.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import puppeteer from 'puppeteer-core';
import { preview } from 'vite';

const WIDTH = 1400;
const READY_MILLISECONDS = 30_000;
const [prometheus, list, folder] = process.argv.slice(2);
const CHROMIUM_FLAGS = [
  '--no-sandbox', // the pages are our own, and root may not have a sandbox
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const server = await preview({ preview: { host: '127.0.0.1', port: 0 } });
const [base] = server.resolvedUrls.local;
const userDataDir = await mkdtemp(join(tmpdir(), 'dashboard-preview-'));
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: CHROMIUM_FLAGS,
  userDataDir,
});
try {
  for (const picture of JSON.parse(await readFile(list))) {
    process.exitCode = (await take(picture)) || process.exitCode;
  }
} finally {
  await browser.close();
  await server.close();
  await rm(userDataDir, { recursive: true, force: true, maxRetries: 5 });
}

async function take({ dashboard, from, to, scrape, variables }) {
  const page = await browser.newPage();
  await page.setViewport({ width: WIDTH, height: 900 });
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  const chosen = Object.entries(variables).map(([name, value]) => [`var-${name}`, value]);
  const asked = new URLSearchParams([...Object.entries({ dashboard, from, to, scrape, prometheus }), ...chosen]);
  await page.goto(`${base}?${asked}`);
  const ready = page.waitForFunction('window.pictureIsReady', { timeout: READY_MILLISECONDS });
  await ready.catch((late) => complaints.push(String(late)));
  await page.waitForNetworkIdle({ idleTime: 500 });
  const problems = await page.$$eval('[data-problem]', (panels) => panels.map((panel) => panel.textContent));
  await page.screenshot({ path: join(folder, `${dashboard}.png`), fullPage: true, optimizeForSpeed: false });
  await page.close();
  for (const problem of [...complaints, ...problems]) {
    console.error(`${dashboard}: ${problem}`);
  }
  return complaints.length + problems.length > 0 ? 1 : 0;
}

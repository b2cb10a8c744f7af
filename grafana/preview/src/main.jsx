/** One dashboard as one page: ?dashboard=NAME&prometheus=URL&from=now-1d&to=now&var-service=... */
import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';
import { ThemeContext, createTheme, dateMath, dateTime } from '@grafana/data';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { prepared } from './fields';
import { Viz } from './panels';
import { Prometheus } from './prometheus';

const COLUMNS = 24;
const ROW_PIXELS = 30;
const GAP = 8;
const PADDING = 8;
const TITLE_PIXELS = 32;
const theme = createTheme({ colors: { mode: 'light' } });

function Dashboard({ document: dashboard, prometheus, range, variables }) {
  const [marks, setMarks] = useState(null);
  const [drawn, setDrawn] = useState(0);
  const shown = dashboard.panels.filter((panel) => panel.type !== 'row').length;
  useEffect(() => {
    Promise.all(dashboard.annotations.list.map((each) => prometheus.marks(each))).then((found) => setMarks(found.flat()));
  }, []);
  useEffect(() => {
    if (drawn === shown) {
      window.pictureIsReady = true;
    }
  }, [drawn]);
  const width = window.innerWidth - 2 * GAP;
  const rows = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const used = dashboard.templating.list.map(({ name }) => name);
  const chosen = used.filter((name) => name in variables).map((name) => `${name} ${variables[name]}`);
  return (
    <main style={{ padding: GAP, overflow: 'hidden', background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
      <header style={{ display: 'flex', gap: 16, alignItems: 'baseline', paddingBottom: GAP, whiteSpace: 'nowrap' }}>
        <strong style={{ fontSize: 18 }}>{dashboard.title}</strong>
        <span style={{ fontSize: 12 }}>{chosen.join(' · ')}</span>
        <em style={{ marginLeft: 'auto', color: theme.colors.text.secondary }}>Grafana&apos;s components, not Grafana</em>
      </header>
      <section style={{ position: 'relative', height: rows * (ROW_PIXELS + GAP) }}>
        {marks &&
          dashboard.panels.map((panel) => (
            <Panel
              key={panel.id}
              {...{ panel, prometheus, range, marks }}
              title={prometheus.filledIn(panel.title, 0)}
              box={boxOf(panel.gridPos, width)}
              onDrawn={() => setDrawn((count) => count + 1)}
            />
          ))}
      </section>
    </main>
  );
}

function boxOf({ x, y, w, h }, width) {
  const column = (width - (COLUMNS - 1) * GAP) / COLUMNS;
  return {
    position: 'absolute',
    left: x * (column + GAP),
    top: y * (ROW_PIXELS + GAP),
    width: w * (column + GAP) - GAP,
    height: h * (ROW_PIXELS + GAP) - GAP,
  };
}

function Panel({ panel, prometheus, range, marks, title, box, onDrawn }) {
  const [frames, setFrames] = useState(null);
  const [problem, setProblem] = useState('');
  const width = box.width - 2 * PADDING - 2;
  const height = box.height - TITLE_PIXELS - PADDING - 2;
  useEffect(() => {
    if (panel.type !== 'row') {
      prometheus
        .frames(panel, width)
        .then((found) => prepared(panel, found, theme))
        .then(setFrames)
        .catch((error) => setProblem(String(error)));
    }
  }, []);
  useEffect(() => {
    if (frames || problem) {
      requestAnimationFrame(onDrawn);
    }
  }, [frames, problem]);
  if (panel.type === 'row') {
    return <div style={{ ...box, fontWeight: 500, padding: '6px 4px' }}>{title}</div>;
  }
  const frame = { ...box, background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}` };
  return (
    <div style={{ ...frame, borderRadius: 2 }} data-problem={problem || undefined}>
      <div style={{ height: TITLE_PIXELS, padding: '6px 8px', fontWeight: 500, whiteSpace: 'nowrap', overflow: 'hidden' }}>
        {title}
      </div>
      <div style={{ padding: `0 ${PADDING}px ${PADDING}px`, width: width + 2 * PADDING, height }}>
        {problem || (frames && <Viz {...{ panel, frames, marks, range, theme, width, height }} />)}
      </div>
    </div>
  );
}

async function draw() {
  const asked = new URLSearchParams(window.location.search);
  const raw = { from: asked.get('from') ?? 'now-1d', to: asked.get('to') ?? 'now' };
  const range = {
    from: dateTime(dateMath.parse(raw.from, false, 'utc')),
    to: dateTime(dateMath.parse(raw.to, true, 'utc')),
    raw,
  };
  const variables = Object.fromEntries(
    [...asked].filter(([name]) => name.startsWith('var-')).map(([name, value]) => [name.slice('var-'.length), value])
  );
  const scrapeSeconds = Number(asked.get('scrape') ?? '15');
  const prometheus = new Prometheus(asked.get('prometheus') ?? 'http://localhost:9090', variables, range, scrapeSeconds);
  const document = await (await fetch(`/dashboards/${asked.get('dashboard') ?? 'rollout'}.json`)).json();
  prometheus.allValues = document.templating.list.map((variable) => variable.allValue).filter(Boolean);
  // Axes are as wide as their labels are when they are first measured.
  await Promise.all(['400 12px Inter', '500 14px Inter'].map((font) => window.document.fonts.load(font)));
  createRoot(window.document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <Dashboard {...{ document, prometheus, range, variables }} />
      <GlobalStyles />
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

window.__grafana_public_path__ = '/';
Object.assign(window.document.body.style, {
  margin: 0,
  fontFamily: theme.typography.fontFamily,
  fontSize: '14px',
  lineHeight: 1.5,
});
draw();

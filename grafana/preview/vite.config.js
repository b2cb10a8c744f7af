import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';

import { defineConfig } from 'vite';

const DASHBOARDS = new URL('../dashboards/', import.meta.url);

/** Serves the shipped JSON as it is now, so that a changed dashboard needs no new build. */
const shippedDashboards = {
  name: 'shipped-dashboards',
  configureServer: ({ middlewares }) => void middlewares.use('/dashboards', serve),
  configurePreviewServer: ({ middlewares }) => void middlewares.use('/dashboards', serve),
};

async function serve(request, response, next) {
  try {
    const text = await readFile(new URL(basename(request.url), DASHBOARDS));
    response.setHeader('Content-Type', 'application/json').end(text);
  } catch {
    next();
  }
}

export default defineConfig({
  publicDir: 'node_modules/@grafana/ui/dist/public', // icons, which @grafana/ui fetches at run time
  define: { global: 'window', 'process.env': '{}' },
  esbuild: { jsx: 'automatic' },
  plugins: [shippedDashboards],
  build: { chunkSizeWarningLimit: 20_000, minify: false },
  logLevel: 'error',
});

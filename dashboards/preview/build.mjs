// Bundles the page that draws a dashboard.
import { build } from 'esbuild';

await build({
  entryPoints: ['src/main.tsx'],
  bundle: true,
  outfile: 'out/main.js',
  format: 'iife',
  platform: 'browser',
  minify: true,
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'window' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff2': 'dataurl', '.woff': 'dataurl', '.ttf': 'dataurl' },
  // One library asks for a shim of the router that the router itself no longer needs.
  alias: { 'react-router-dom-v5-compat': 'react-router-dom' },
  logLevel: 'warning',
});

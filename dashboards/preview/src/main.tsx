// Draws one dashboard, without a Grafana: what its libraries need is in ./application, ./prometheus and ./plugins.
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { ThemeContext } from '@grafana/data';
import { locationService, LocationServiceProvider } from '@grafana/runtime';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import React from 'react';
import 'uplot/dist/uPlot.min.css';
import './application';
import './prometheus';
import './plugins';
import { scene, state } from './scene';
import { results, task, theme } from './task';

// What render.mjs waits for, and prints.
(window as any).state = state;
(window as any).results = results;

createRoot(document.getElementById('root')!).render(
  <ThemeContext.Provider value={theme}>
    <LocationServiceProvider service={locationService}>
      <MemoryRouter>
        <GlobalStyles />
        <div
          style={{
            background: theme.colors.background.canvas,
            padding: 16,
            display: 'flex',
            flexDirection: 'column',
          }}
        >
          <h3 style={{ margin: '0 0 12px' }}>{task.dashboard.title}</h3>
          <scene.Component model={scene} />
        </div>
        <PortalContainer />
      </MemoryRouter>
    </LocationServiceProvider>
  </ThemeContext.Provider>,
);

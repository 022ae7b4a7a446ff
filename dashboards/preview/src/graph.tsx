// A graph of nodes, in place of Grafana's, of which it publishes no part. It shows the same: names, what goes where, and how much.
import { formattedValueToString, getDisplayProcessor, getFieldDisplayName } from '@grafana/data';
import type { DataFrame } from '@grafana/data';
import React from 'react';
import { theme } from './task';

type Row = Record<string, unknown> & { stat: string };
type Place = { x: number; y: number };

const RADIUS = 34;
const MARGIN = 70;

// The rows of a table, with what is written at each.
const rows = (frame: DataFrame | undefined): Row[] =>
  Array.from({ length: frame?.length ?? 0 }, (_, at) => {
    const row: Row = { stat: '' };
    for (const field of frame!.fields) {
      const name = getFieldDisplayName(field, frame);
      row[name] = field.values[at];
      if (name === 'mainstat')
        row.stat = formattedValueToString((field.display ?? getDisplayProcessor({ field, theme }))(field.values[at]));
    }
    return row;
  });

// Whoever is asked is to the right of who asks. In a circle somebody has to be first, so it ends after as many rounds as
// there are nodes.
const columns = (nodes: Row[], edges: Row[]): Row[][] => {
  const column = new Map(nodes.map(({ id }) => [id, 0]));
  for (let round = 1; round < nodes.length; round++)
    for (const { source, target } of edges)
      if (source !== target && column.get(target)! <= column.get(source)! && column.get(source)! < nodes.length - 1)
        column.set(target, column.get(source)! + 1);
  const all = nodes.reduce<Row[][]>((all, node) => {
    (all[column.get(node.id)!] ??= []).push(node);
    return all;
  }, []);
  return all.filter((nodes) => nodes?.length);
};

const places = (all: Row[][], width: number, height: number) =>
  new Map<unknown, Place>(
    all.flatMap((nodes, column) =>
      nodes.map(({ id }, at): [unknown, Place] => [
        id,
        {
          x: all.length < 2 ? width / 2 : MARGIN + ((width - 2 * MARGIN) * column) / (all.length - 1),
          y: ((height - 30) * (at + 0.5)) / nodes.length,
        },
      ]),
    ),
  );

export const Graph = ({ frames, width, height }: { frames: DataFrame[]; width: number; height: number }) => {
  const isOfEdges = ({ fields }: DataFrame) => fields.some(({ name }) => name === 'source');
  const edges = rows(frames.find(isOfEdges));
  const nodes = rows(frames.find((frame) => !isOfEdges(frame)));
  const at = places(columns(nodes, edges), width, height);
  const { text, primary } = theme.colors;
  const label = { fill: text.primary, fontSize: 12, textAnchor: 'middle' as const };
  return (
    <svg width={width} height={height} fontFamily={theme.typography.fontFamily}>
      <marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
        <path d="M0,0 L8,4 L0,8 z" fill={text.secondary} />
      </marker>
      {edges.map(({ id, source, target, stat }) => {
        const [from, to] = [at.get(source), at.get(target)];
        if (!from || !to) return null;
        const [across, down] = [to.x - from.x, to.y - from.y];
        const share = RADIUS / Math.max(Math.hypot(across, down), 1);
        return (
          <g key={String(id)}>
            <line
              x1={from.x + across * share}
              y1={from.y + down * share}
              x2={to.x - across * share}
              y2={to.y - down * share}
              stroke={text.secondary}
              markerEnd="url(#head)"
            />
            <text {...label} fill={text.secondary} x={from.x + across * 0.4} y={from.y + down * 0.4 - 6}>
              {stat}
            </text>
          </g>
        );
      })}
      {nodes.map(({ id, title, subtitle, stat }) => {
        const { x, y } = at.get(id)!;
        return (
          <g key={String(id)}>
            <circle cx={x} cy={y} r={RADIUS} fill={theme.colors.background.secondary} stroke={primary.main} strokeWidth={2} />
            <text {...label} x={x} y={y + 4}>
              {stat}
            </text>
            <text {...label} x={x} y={y + RADIUS + 15}>
              {String(title)}
            </text>
            <text {...label} fill={text.secondary} x={x} y={y + RADIUS + 30}>
              {String(subtitle)}
            </text>
          </g>
        );
      })}
    </svg>
  );
};

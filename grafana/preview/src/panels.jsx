/** The four types of panel, drawn by @grafana/ui; what Grafana itself keeps in its plugins is kept as small as it goes. */
import { VizOrientation, getDisplayValueAlignmentFactors, getFieldDisplayValues } from '@grafana/data';
import { BarGauge, BigValue, Table, TimeSeries, VizRepeater } from '@grafana/ui';

import { fieldConfigOf } from './fields';

export function Viz({ panel, frames, marks, range, theme, width, height }) {
  const Drawn = { timeseries: Lines, stat: Stat, bargauge: Bars, table: Rows }[panel.type];
  if (!frames.some((frame) => frame.length > 0)) {
    return <div style={{ ...CENTRED, height }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
  }
  return <Drawn {...{ panel, frames, marks, range, theme, width, height }} />;
}

const CENTRED = { display: 'flex', alignItems: 'center', justifyContent: 'center', textAlign: 'center' };

function Lines({ panel, frames, marks, range, width, height }) {
  return (
    <TimeSeries
      {...{ frames, width, height }}
      timeRange={range}
      timeZone="utc"
      legend={panel.options.legend}
      options={panel.options}
    >
      {(config) => {
        config.addHook('draw', (plot) => drawMarks(plot, marks));
        return null;
      }}
    </TimeSeries>
  );
}

function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  for (const { time } of marks) {
    const x = plot.valToPos(time, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) {
      continue;
    }
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = '#a352cc';
    ctx.lineWidth = 2;
    ctx.setLineDash([5, 5]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(x - 6, bbox.top + bbox.height + 8);
    ctx.lineTo(x + 6, bbox.top + bbox.height + 8);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.fill();
    ctx.restore();
  }
}

function displayed({ panel, frames, theme }) {
  return getFieldDisplayValues({
    fieldConfig: fieldConfigOf(panel),
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: frames,
    timeZone: 'utc',
    sparkline: panel.options.graphMode !== 'none',
  });
}

function Stat(props) {
  const { panel, theme, width, height } = props;
  const { colorMode, graphMode, justifyMode, textMode, percentChangeColorMode, orientation, text } = panel.options;
  return (
    <VizRepeater
      {...{ width, height }}
      getValues={() => displayed(props)}
      orientation={orientation ?? VizOrientation.Auto}
      source={props.frames}
      autoGrid
      renderCounter={0}
      renderValue={({ value, width, height, count, alignmentFactors }) => (
        <BigValue
          {...{ width, height, theme, colorMode, graphMode, justifyMode, textMode, percentChangeColorMode, text }}
          value={value.display}
          count={count}
          alignmentFactors={alignmentFactors}
          sparkline={value.sparkline}
        />
      )}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
    />
  );
}

function Bars(props) {
  const { panel, theme, width, height } = props;
  const { orientation, minVizHeight, maxVizHeight, minVizWidth, valueMode, namePlacement, showUnfilled } = panel.options;
  return (
    <VizRepeater
      {...{ width, height, orientation, minVizHeight, maxVizHeight, minVizWidth }}
      getValues={() => displayed(props)}
      source={props.frames}
      itemSpacing={10}
      renderCounter={0}
      renderValue={({ value, width, height, alignmentFactors, orientation }) => (
        <BarGauge
          {...{ width, height, theme, orientation, showUnfilled, namePlacement, alignmentFactors }}
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          text={panel.options.text}
          displayMode={panel.options.displayMode}
          valueDisplayMode={valueMode}
          itemSpacing={10}
          lcdCellWidth={12}
        />
      )}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
    />
  );
}

function Rows({ panel, frames, width, height }) {
  const sorted = (panel.options?.sortBy ?? []).map(({ displayName, desc }) => ({ displayName, desc }));
  return <Table data={frames[0]} {...{ width, height }} initialSortBy={sorted} showTypeIcons={false} />;
}

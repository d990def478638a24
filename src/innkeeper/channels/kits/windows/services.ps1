# What runs in this guest: its services, as the units by which the host compares a guest with itself.
# A service is told as NAME.service.

$NeverStarted = 1077
# A service that starts itself again after an end waits for this, and a little.
$SlackSeconds = 10
# Since a boot: those that start at once, and those that start delayed (after AutoStartDelay, 120 s at first).
$AtOnceSeconds = 120
$UsualDelaySeconds = 120
# "Service Control Manager", by what they say: it ended, and is started again; it ended; it could not start.
$EndIds = 7031, 7034
$FailureIds = 7031, 7034, 7023, 7024, 7000, 7001, 7009, 7022, 7038
# The part of a service's type that says that each user has one of his own: it comes and goes with a login.
$OfUsers = 0x40

# Return all that is looked up once for a report.
function Get-Picture {
    $processes = @{}
    $fields = 'ProcessId', 'ParentProcessId', 'Name', 'SessionId', 'CreationDate'
    foreach ($one in Get-CimInstance -ClassName Win32_Process -Property $fields) {
        $processes[[long]$one.ProcessId] = $one
    }
    $services = @(Get-CimInstance -ClassName Win32_Service | Where-Object { -not (Test-OfUser $_.Name) })
    return @{ processes = $processes; services = $services; uptime = (Get-Uptime) }
}

function Test-OfUser([string] $Name) {
    $type = Get-RegistryValue "SYSTEM\CurrentControlSet\Services\$Name" 'Type'
    return $null -ne $type -and ($type -band $OfUsers) -ne 0
}

# Return a row for each service that runs, or is to run.
function Get-Units($Picture) {
    $ends = Get-Ends $Picture
    $units = New-Object System.Collections.ArrayList
    $failed = New-Object System.Collections.ArrayList
    foreach ($service in $Picture.services) {
        $unit = Get-Unit $service $Picture $ends
        if ($unit.active -eq 'failed') { [void]$failed.Add($unit.name) }
        $isKept = $service.StartMode -eq 'Auto' -or $unit.active -ne 'inactive'
        if (-not $isKept -or $units.Count -ge $MaxItems) { continue }
        [void]$units.Add([object[]]@(
            $unit.name, @(), $unit.active, $unit.sub, 'simple', $unit.restarts, $false, $unit.enablement,
            ($service.StartMode -eq 'Auto'), $unit.triggered, @(), $unit.hasJob, $unit.age))
    }
    return @{ units = $units; failed = $failed }
}

function Get-Unit($Service, $Picture, $Ends) {
    $unit = @{
        name = "$($Service.Name).service"; active = 'inactive'; sub = 'stopped'; restarts = [long]0
        enablement = (Get-Enablement $Service.StartMode); triggered = (Test-Triggered $Service)
        hasJob = $false; age = [long]0
    }
    $end = $Ends[$Service.DisplayName]
    if ($null -ne $end) { $unit.restarts = [long]$end.times }
    switch ($Service.State) {
        'Running' { $unit.active = 'active'; $unit.sub = 'running' }
        'Paused' { $unit.active = 'active'; $unit.sub = 'paused' }
        'Start Pending' { $unit.active = 'activating'; $unit.sub = 'start' }
        'Continue Pending' { $unit.active = 'activating'; $unit.sub = 'continue' }
        'Stop Pending' { $unit.active = 'deactivating'; $unit.sub = 'stop' }
        'Pause Pending' { $unit.active = 'deactivating'; $unit.sub = 'pause' }
        default { Set-Stopped $unit $Service $Picture $end }
    }
    $process = $Picture.processes[[long]$Service.ProcessId]
    if ($Service.ProcessId -gt 0 -and $null -ne $process.CreationDate) {
        $unit.age = [long][math]::Max(0, ((Get-Date) - $process.CreationDate).TotalSeconds)
    }
    return $unit
}

# Say of a service that stands still why it does: its start is to come, it will be started again, it failed.
function Set-Stopped($Unit, $Service, $Picture, $End) {
    if ($null -ne $End -and $End.until -gt (Get-Date)) {
        $Unit.active = 'activating'
        $Unit.sub = 'auto-restart'
        return
    }
    if ($Service.StartMode -ne 'Auto') { return }
    if ([long]$Service.ExitCode -eq $NeverStarted) {
        $Unit.hasJob = -not (Test-Triggers $Service.Name) -and $Picture.uptime -lt (Get-StartSeconds $Service)
        return
    }
    # What starts and ends by itself says little by the code with which it ended.
    if ([long]$Service.ExitCode -ne 0 -and -not $Unit.triggered) {
        $Unit.active = 'failed'
        $Unit.sub = "exit code $($Service.ExitCode)"
    }
}

# Within how many seconds of a boot Windows should have started a service.
function Get-StartSeconds($Service) {
    if (-not $Service.DelayedAutoStart) { return $AtOnceSeconds }
    $delay = Get-RegistryValue 'SYSTEM\CurrentControlSet\Control' 'AutoStartDelay'
    if ($null -eq $delay) { $delay = $UsualDelaySeconds }
    return [long]$delay + $AtOnceSeconds
}

function Get-Enablement([string] $StartMode) {
    if ($StartMode -eq 'Auto') { return 'enabled' }
    if ($StartMode -eq 'Disabled') { return 'masked' }
    # Programs start what is "Manual", and it ends when it has nothing to do.
    return 'static'
}

# Whether a service may come and go by itself: it has triggers, or belongs to those that start late.
function Test-Triggered($Service) {
    return [bool]$Service.DelayedAutoStart -or (Test-Triggers $Service.Name)
}

function Test-Triggers([string] $Name) {
    return Test-RegistryKey "SYSTEM\CurrentControlSet\Services\$Name\TriggerInfo"
}

# Return how often each service has ended by itself since the boot, by the name that people see, and until when
# Windows waits before it starts it again.
function Get-Ends($Picture) {
    $ends = @{}
    $since = (Get-Date).AddSeconds(-$Picture.uptime)
    foreach ($record in (Get-ServiceEvents $EndIds $since).records) {
        $name = Get-ServiceOf $record
        if (-not $ends.ContainsKey($name)) { $ends[$name] = @{ times = 0; until = [datetime]::MinValue } }
        if ($record.Id -ne 7031) { continue }
        $ends[$name].times++
        $pause = [string]$record.Properties[2].Value
        $until = $record.TimeCreated.AddSeconds($SlackSeconds)
        if ($pause -match '^[0-9]{1,9}$') { $until = $until.AddMilliseconds([long]$pause) }
        if ($until -gt $ends[$name].until) { $ends[$name].until = $until }
    }
    return $ends
}

function Get-ServiceEvents($Ids, [datetime] $Since) {
    $filter = @{ LogName = 'System'; ProviderName = 'Service Control Manager'; Id = $Ids; StartTime = $Since }
    try {
        return @{ records = @(Get-WinEvent -FilterHashtable $filter -MaxEvents 2000) }
    } catch {
        # That there is none is told as an error too; another one is no answer.
        if ($_.FullyQualifiedErrorId -notlike 'NoMatchingEventsFound*') { throw }
        return @{ records = @() }
    }
}

# Return the service that an event tells of, by the name that people see. Of one that did not start in time
# (7009), the time comes first.
function Get-ServiceOf($Record) {
    $at = if ($Record.Id -eq 7009) { 1 } else { 0 }
    if ($Record.Properties.Count -le $at) { return '' }
    return [string]$Record.Properties[$at].Value
}

# Return the services that have failed in the last week.
function Get-FailedLately($Picture) {
    $names = @{}
    foreach ($service in $Picture.services) { $names[$service.DisplayName] = "$($service.Name).service" }
    $found = New-Object System.Collections.ArrayList
    foreach ($record in (Get-ServiceEvents $FailureIds ((Get-Date).AddDays(-7))).records) {
        $name = $names[(Get-ServiceOf $record)]
        if ($null -ne $name -and $found -notcontains $name) { [void]$found.Add($name) }
    }
    return @{ names = $found }
}

# Return what is known of services in trouble: how each stands, and the last words of the event log.
function Invoke-Evidence($Units) {
    $evidence = @{}
    foreach ($unit in $Units) {
        $name = $unit -replace '\.service$', ''
        $service = Get-CimInstance -ClassName Win32_Service -Filter "Name='$($name -replace "(['\\])", '\$1')'"
        if ($null -eq $service) { continue }
        $state = "$($service.State), starts: $($service.StartMode)"
        if ([long]$service.ExitCode -ne 0) {
            $state += ", exit code $($service.ExitCode) ($(Get-Win32Message $service.ExitCode))"
        }
        $lines = New-Object System.Collections.ArrayList
        [void]$lines.Add((Limit-Text $state 400))
        foreach ($line in (Get-LastWords $service).lines) { [void]$lines.Add($line) }
        $evidence[$unit] = $lines
    }
    return @{ evidence = $evidence }
}

# Return the last six events of a service and of its program since a day ago, the oldest first.
function Get-LastWords($Service) {
    $since = (Get-Date).AddDays(-1)
    $records = @((Get-ServiceEvents ($FailureIds + 7032 + 7036) $since).records |
        Where-Object { (Get-ServiceOf $_) -eq $Service.DisplayName })
    if ($Service.PathName -match '([^\\"]+\.exe)') {
        $program = $Matches[1]
        $filter = @{ LogName = 'Application'; Level = 1, 2; StartTime = $since }
        $records += @(Get-WinEvent -FilterHashtable $filter -MaxEvents 500 -ErrorAction SilentlyContinue |
            Where-Object { $program -ne 'svchost.exe' -and [string]$_.Message -like "*$program*" })
    }
    $lines = New-Object System.Collections.ArrayList
    foreach ($record in @($records | Sort-Object TimeCreated | Select-Object -Last 6)) {
        $first = ([string]$record.Message -split "`r?`n")[0]
        $line = '{0:yyyy-MM-ddTHH:mm:ss} {1} {2}: {3}' -f $record.TimeCreated, $record.ProviderName, $record.Id, $first
        [void]$lines.Add((Limit-Text $line 400))
    }
    return @{ lines = $lines }
}

# Restart services that run, and that nobody has to be asked about; returns which.
function Invoke-RestartUnits($Units) {
    $done = New-Object System.Collections.ArrayList
    foreach ($unit in $Units) {
        $service = Get-Service -Name ($unit -replace '\.service$', '') -ErrorAction SilentlyContinue
        if ($null -eq $service -or $service.Status -ne 'Running' -or -not $service.CanStop) { continue }
        if (@($service.DependentServices | Where-Object { $_.Status -eq 'Running' }).Count -gt 0) { continue }
        try { Restart-Service -InputObject $service } catch { continue }
        [void]$done.Add($unit)
    }
    return @{ units = $done }
}

# Begin updates and follow them. All is read from what their workers have written.

# Begin a preparation, or tell how far that is.
function Invoke-PrepareVerb([string] $Label, [string] $Identifier, [string] $Attempt, [long] $Offset) {
    $context = Read-StandardInput
    [void](Read-Options $context)
    $folder = Get-RunFolder $Identifier 'prepare'
    $answer = Use-Lock {
        $request = Get-Request $folder
        if ($null -ne $request -and $request.attempt -ceq $Attempt) {
            Start-Again $folder $request
            return Get-Preparation $folder $request $Offset
        }
        if (Test-Held $folder) {
            Write-Whole (Join-Path $folder 'cancel') ([byte[]]@())
            return New-Preparation 'running' 'An earlier preparation is being stopped' 0
        }
        New-Run $folder (New-Request 'prepare' $Label $Identifier $Attempt $false) $context
        Start-Worker $folder
        return New-Preparation 'running' '' 0
    }
    return @{ preparation = $answer }
}

function New-Request([string] $Step, [string] $Label, [string] $Identifier, [string] $Attempt, [bool] $Prepared) {
    return @{
        step = $Step; label = $Label; identifier = $Identifier; attempt = $Attempt; prepared = $Prepared
        boot = (Get-BootId); at = (Get-UnixTime (Get-Date))
    }
}

function New-Preparation([string] $State, [string] $Text, [long] $Offset) {
    return @{ state = $State; text = $Text; packages = @(); output = @(); offset = $Offset }
}

function Get-Preparation([string] $Folder, $Request, [long] $Offset) {
    # Asked before the events are read: a worker that ends between has its end among them.
    $isDead = Test-Dead $Folder $Request
    $read = Read-Events $Folder $Offset $ReadBytes
    $now = New-Preparation 'running' '' $read.offset
    $now.output = New-Object System.Collections.ArrayList
    foreach ($told in $read.events) {
        if ($null -ne $told.output) { [void]$now.output.Add($told.output) }
        if ($null -ne $told.text) { $now.text = $told.text }
        if ($null -ne $told.end) {
            $now.state = $told.end
            if ($null -ne $told.packages) { $now.packages = $told.packages }
        }
    }
    if ($read.events.Count -eq 0 -and $isDead) {
        $now.state = 'failed'
        $now.text = 'The program that prepares the update has died.'
    }
    return $now
}

# Whether nobody is at it, nor will be.
function Test-Dead([string] $Folder, $Request) {
    if (Test-Held $Folder) { return $false }
    if ([System.IO.File]::Exists((Join-Path $Folder 'events'))) { return $true }
    return $Request.boot -ne (Get-BootId) -or (Get-Age $Folder) -gt $BeginSeconds
}

# Return for how many seconds a step was asked for, whatever becomes of the clock: never less than nothing.
function Get-Age([string] $Folder) {
    $written = [System.IO.File]::GetLastWriteTimeUtc((Join-Path $Folder 'request'))
    return [math]::Abs(([datetime]::UtcNow - $written).TotalSeconds)
}

# Begin a worker again that has not come: this program may have died before it could.
function Start-Again([string] $Folder, $Request) {
    $hasBegun = [System.IO.File]::Exists((Join-Path $Folder 'events'))
    if ($hasBegun -or (Test-Held $Folder) -or $Request.boot -ne (Get-BootId)) { return }
    $age = Get-Age $Folder
    if ($age -gt $AgainSeconds -and $age -le $BeginSeconds) { Start-Worker $Folder }
}

function Invoke-StopPreparing([string] $Identifier) {
    Stop-Step (Get-RunFolder $Identifier 'prepare')
    return @{}
}

function Invoke-Cancel([string] $Identifier) {
    Stop-Step (Get-RunFolder $Identifier 'update')
    return @{}
}

function Stop-Step([string] $Folder) {
    if ($null -ne (Get-Request $Folder)) { Write-Whole (Join-Path $Folder 'cancel') ([byte[]]@()) }
}

# Begin an update. A known identifier starts nothing, unless it changed nothing and another attempt asks.
function Invoke-Start([string] $Label, [string] $Identifier, [string] $Attempt) {
    $context = Read-StandardInput
    [void](Read-Options $context)
    $folder = Get-RunFolder $Identifier 'update'
    $answer = Use-Lock {
        $request = Get-Request $folder
        if ($null -ne $request) {
            $task = Get-Task $folder $request
            if (-not ($task.unchanged -and $Attempt -and $Attempt -cne $request.attempt)) {
                Start-Again $folder $request
                return $task
            }
        }
        $prepared = Test-Ready (Get-RunFolder $Identifier 'prepare')
        $fresh = New-Request 'update' $Label $Identifier $Attempt $prepared
        New-Run $folder $fresh $context
        Remove-OldRuns
        Start-Worker $folder
        return Get-Task $folder (Get-Request $folder)
    }
    return @{ task = $answer }
}

# Whether a preparation has downloaded what it found.
function Test-Ready([string] $Folder) {
    $read = Read-Events $Folder 0 ([int]::MaxValue)
    return @($read.events | Where-Object { $_.end -eq 'ready' }).Count -gt 0
}

# Tell of an update; with an offset, what it has printed since.
function Invoke-Task([string] $Identifier, $Offset) {
    $folder = Get-RunFolder $Identifier 'update'
    $request = Get-Request $folder
    $answer = @{ task = $null }
    if ($null -ne $request) {
        Start-Again $folder $request
        $answer.task = Get-Task $folder $request
    }
    if ($null -eq $Offset) { return $answer }
    $answer.output = New-Object System.Collections.ArrayList
    $answer.offset = [long]0
    if ($null -eq $request) { return $answer }
    $mark = Join-Path $folder 'told'
    $from = [long]0
    if ($Offset -ne '-') {
        $from = [long]$Offset
        # On a full disk a service that was restarted hears some lines twice.
        try { Write-Object $mark @{ offset = $from } } catch [System.IO.IOException] { $from = [long]$Offset }
    } else {
        $last = Read-Object $mark
        if ($null -ne $last) { $from = [long]$last.offset }
    }
    $read = Read-Events $folder $from $ReadBytes
    foreach ($told in $read.events) {
        if ($null -ne $told.output) { [void]$answer.output.Add($told.output) }
    }
    $answer.offset = $read.offset
    return $answer
}

# Return an update as the host hears of it.
function Get-Task([string] $Folder, $Request) {
    $isDead = Test-Dead $Folder $Request
    $task = @{
        identifier = $Request.identifier; status = $StatusSearching; percent = $null; text = ''; packages = @()
        unchanged = $false
    }
    $acts = $false
    $end = ''
    foreach ($told in (Read-Events $Folder 0 ([int]::MaxValue)).events) {
        if ($null -ne $told.acts) { $acts = $told.acts }
        if ($null -ne $told.status) { $task.status = $told.status; $task.percent = $told.percent }
        if ($null -ne $told.text) { $task.text = $told.text }
        if ($null -ne $told.packages) { $task.packages = $told.packages }
        if ($null -ne $told.end) { $end = $told.end; $task.unchanged = [bool]$told.unchanged }
    }
    if ($end -eq 'success') {
        $task.status = $StatusSuccess
        $task.percent = 100
    } elseif ($end) {
        $task.status = $StatusFailed
    } elseif ($isDead) {
        $task.status = $StatusFailed
        $task.unchanged = -not $acts
        $task.text = 'The update program has died.'
        if ($Request.boot -ne (Get-BootId)) { $task.text = 'The guest went down in the middle of the update.' }
    }
    return $task
}

# Return the updates that this guest remembers, the newest last, without packages.
function Get-Tasks {
    $tasks = New-Object System.Collections.ArrayList
    $all = @(Get-ChildItem -LiteralPath $Runs -Directory | Sort-Object LastWriteTimeUtc)
    foreach ($one in @($all | Select-Object -Last 16)) {
        $folder = Join-Path $one.FullName 'update'
        $request = Get-Request $folder
        if ($null -eq $request) { continue }
        $task = Get-Task $folder $request
        $task.Remove('packages')
        $task.text = Limit-Text $task.text 100
        [void]$tasks.Add($task)
    }
    return @{ tasks = $tasks }
}

# Return all bytes of standard input.
function Read-StandardInput {
    $stream = [Console]::OpenStandardInput()
    $all = New-Object System.IO.MemoryStream
    $stream.CopyTo($all)
    return , $all.ToArray()
}
